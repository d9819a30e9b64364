"""What a logit hook hands to the losses."""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple, Union

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
        strong (tuple[Tensor, Tensor], optional): Logits of student and
            teacher on a second view of the same images.
        features (tuple[Features, Features], optional): Feature maps of
            student and teacher.
        extras (dict): What feature losses want beside that, such as masks of
            a detector's levels, by name of the loss.
        watched (Tensor, optional): Which rows the logged tau is taken on,
            shape (N,), boolean; all by default.
    """

    student: Tensor
    teacher: Tensor
    labels: Optional[Tensor] = None
    weight: Optional[Tensor] = None
    avg_factor: Optional[Union[float, Tensor]] = None
    strong: Optional[Tuple[Tensor, Tensor]] = None
    features: Optional[Tuple[Any, Any]] = None
    extras: Dict[str, dict] = field(default_factory=dict)
    watched: Optional[Tensor] = None
