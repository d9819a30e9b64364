"""Boxes of the same places by student and teacher."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class BoxPair:
    """Boxes that two heads predict at the same places, row by row.

    Attributes:
        student (Tensor): As the head gives them, shape (N, K), attached to
            the student's graph.
        teacher (Tensor): Shape (N, K), without a graph.
        priors (Tensor): Anchors (x1, y1, x2, y2) or points (x, y) that they
            start from, in pixels of the network's input, (N, 4) or (N, 2).
        image (Tensor): Image of each row in the batch, shape (N,), long.
        level (Tensor): Level of each row, shape (N,), long.
        foreground (Tensor): Which rows the student's assigner gave to an
            object, shape (N,), boolean.
        weight (Tensor): Weight of each row in the student's own class loss,
            shape (N,); 0 for those outside the image.
        confidence (Tensor): The student's highest class probability,
            float32, shape (N,), without a graph.
    """

    student: Tensor
    teacher: Tensor
    priors: Tensor
    image: Tensor
    level: Tensor
    foreground: Tensor
    weight: Tensor
    confidence: Tensor
