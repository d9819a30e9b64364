"""Logits of the same things by student and teacher."""

from dataclasses import dataclass
from typing import Optional, Union

from torch import Tensor


@dataclass
class LogitPair:
    """Logits of the same things by student and teacher, row by row.

    Attributes:
        student (Tensor): Shape (N, C), attached to the student's graph.
        teacher (Tensor): Shape (N, C), without a graph.
        labels (Tensor, optional): Class of each row, shape (N,), long.
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float or Tensor, optional): Divisor of the mean over rows.
        foreground (Tensor, optional): Which rows are of objects, shape (N,),
            boolean, where background would drown them: the logged tau is
            taken on these. None for all.
    """

    student: Tensor
    teacher: Tensor
    labels: Optional[Tensor] = None
    weight: Optional[Tensor] = None
    avg_factor: Optional[Union[float, Tensor]] = None
    foreground: Optional[Tensor] = None
