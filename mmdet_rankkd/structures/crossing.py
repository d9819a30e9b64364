"""A student's maps on their way through the rest of a teacher's head."""

from dataclasses import dataclass
from typing import Callable, List, NamedTuple

from torch import Tensor


class HeadMaps(NamedTuple):
    """Maps inside a dense head, behind a layer of each of its two towers.

    Attributes:
        classes (list[Tensor]): Maps of the classes, a level each, shape (B,
            C, H, W).
        boxes (list[Tensor]): Maps of the boxes, likewise.
    """

    classes: List[Tensor]
    boxes: List[Tensor]


class Predictions(NamedTuple):
    """What a dense head predicts at all places, row by row.

    Attributes:
        logits (Tensor): Logits of the classes, each by itself, shape (N, C).
        boxes (Tensor): Corners x1, y1, x2, y2 in pixels of the network's
            input, shape (N, 4); of heads that give distributions of the four
            sides their logits, shape (N, 4 * (n + 1)), n > 0.
    """

    logits: Tensor
    boxes: Tensor


@dataclass
class Crossing:
    """Maps of both heads, and the rest of the teacher's.

    Attributes:
        student (HeadMaps): Attached to the student's graph.
        teacher (HeadMaps): Without a graph.
        rest (Callable): Takes ``HeadMaps`` in the teacher's shapes through
            the rest of its head to ``Predictions``.
        target (Predictions): The teacher's own.
        weight (Tensor): Weight of each row in the student's own class loss,
            shape (N,); 0 for those outside the image.
        avg_factor (Tensor): Number of places that the student's assigner
            gave to objects, of FCOS the sum of their centerness targets: the
            mean over the processes, at least 1.
    """

    student: HeadMaps
    teacher: HeadMaps
    rest: Callable[[HeadMaps], Predictions]
    target: Predictions
    weight: Tensor
    avg_factor: Tensor
