"""What every feature loss shares."""

from typing import Any, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from .base import DistillLoss

Shape = Sequence[int]


class FeatureLoss(DistillLoss):
    """Shell of the losses of feature maps.

    Subclasses implement :meth:`compare`; those that learn something of their
    own make it in :meth:`build`. It is trained by the student's optimizer,
    saved under ``distiller.``, resumed, and never exported.

    Student and teacher are given as ``Features``: lists ``stages`` and
    ``preacts`` of maps, shallow first, and ``pooled`` or None.
    """

    #: Share of an object's best overlap that puts a place on, for losses
    #: that are given ``masks`` of a detector's levels.
    mask_factor: Optional[float] = None
    #: Whether it is given ``contrast``, the numbers of other images.
    wants_contrast = False

    def build(self, student: Any, teacher: Any) -> None:
        """Make adapters for the shapes of student and teacher.

        Args:
            student (Features): Features of one image.
            teacher (Features): Those of the teacher for the same image.

        Raises:
            ValueError: If the two cannot be compared.
        """

    def teacher_is_ready(self, teacher: Any) -> None:
        """Take note of the teacher's weights, once they are loaded."""

    def compare(self, student: Any, teacher: Any) -> Tensor:
        """The loss, a scalar; the teacher's features carry no graph."""
        raise NotImplementedError

    def forward(self, student: Any, teacher: Any) -> Tensor:
        """Weighted loss of the features of a batch."""
        return self.current_weight * self.compare(student, teacher)


def in_float(*maps: Tensor) -> Tuple[Tensor, ...]:
    """Maps in float32, or in float64 if they are."""
    return tuple(
        m.to(torch.promote_types(m.dtype, torch.float32)) for m in maps
    )


def choose(
    maps: List[Tensor], levels: Sequence[int], who: str
) -> List[Tensor]:
    """Maps by their index.

    Raises:
        ValueError: If there is no such map.
    """
    if not levels or max(levels) >= len(maps) or min(levels) < -len(maps):
        raise ValueError(
            f'{who} has {len(maps)} feature maps; levels {tuple(levels)} are '
            'not all among them'
        )
    return [maps[i] for i in levels]


def check_maps(maps: Sequence[Tensor], who: str, loss: str) -> None:
    """Raise ValueError unless all have the shape (B, C, H, W)."""
    for m in maps:
        if m.dim() != 4:
            raise ValueError(
                f'{loss} compares maps of shape (B, C, H, W); the {who} has '
                f'features of shape {tuple(m.shape)}'
            )
