"""Logits of the same things by student and teacher."""

from dataclasses import dataclass
from typing import Optional, Sequence, Union

import torch
from mmengine.dist import all_reduce
from torch import Tensor


class NoGroundTruth(ValueError):
    """A loss needs what images without annotations do not have."""


@dataclass
class LogitPair:
    """Logits of the same things by student and teacher, row by row.

    ``weight`` and ``avg_factor`` are the recorder's, for losses that choose
    no rows of their own; the rest tells rows and columns apart for those that
    do.

    Attributes:
        student (Tensor): Shape (N, C), attached to the student's graph.
        teacher (Tensor): Shape (N, C), without a graph.
        labels (Tensor, optional): Class of each row, shape (N,), long.
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float or Tensor, optional): Divisor of the mean over rows.
        foreground (Tensor, optional): Which rows are of objects, shape (N,),
            boolean; None where all are.
        own_weight (Tensor, optional): Weight that the student's own loss
            gives to each row, shape (N,); None for 1.
        background (bool): Whether the last column is background.
        stage (Tensor, optional): Stage of a cascade that each row is of,
            shape (N,), long.
        stage_weights (Sequence[float]): Weight of each stage; each has a mean
            of its own.
        tau_rows (Tensor, optional): Rows that the logged tau is taken on,
            shape (N,), boolean; None for all.
        labelled (bool): Whether the images have annotations. Where they have
            none, ``labels`` and ``foreground`` are None, unless they are the
            teacher's.
    """

    student: Tensor
    teacher: Tensor
    labels: Optional[Tensor] = None
    weight: Optional[Tensor] = None
    avg_factor: Optional[Union[float, Tensor]] = None
    foreground: Optional[Tensor] = None
    own_weight: Optional[Tensor] = None
    background: bool = False
    stage: Optional[Tensor] = None
    stage_weights: Sequence[float] = (1.0,)
    tau_rows: Optional[Tensor] = None
    labelled: bool = True


def confidence(logits: Tensor, background: bool) -> Tensor:
    """Highest probability of an object's class at each row.

    Args:
        logits (Tensor): Shape (N, C).
        background (bool): Whether the last column is background, of a head
            that uses the softmax; else each class is by itself (sigmoid).

    Returns:
        Tensor: float32, shape (N,), in [0, 1].
    """
    if background:
        return logits.float().softmax(1)[:, :-1].amax(1)
    return logits.amax(1).float().sigmoid()


def mean_over_processes(total: Tensor) -> Tensor:
    """A sum of weights as the divisor of a mean over all processes.

    Args:
        total (Tensor): A scalar, at least 0.

    Returns:
        Tensor: Its mean over the processes; above 0 also without rows.
    """
    total = total.clone()
    all_reduce(total, 'mean')
    return total.clamp(min=torch.finfo(total.dtype).eps)
