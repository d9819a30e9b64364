"""Attention transfer."""

from typing import Any, Optional, Sequence

import torch.nn.functional as F
from torch import Tensor

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import Features

from ..base import without_autocast
from .base import FeatureLoss, check_images, check_maps, choose, in_float


def attention(x: Tensor, power: float = 2.0) -> Tensor:
    """Mean over channels of a power of a map, flat and of unit length.

    Args:
        x (Tensor): Shape (B, C, H, W).
        power (float): Exponent of the absolute values.

    Returns:
        Tensor: Shape (B, H * W).
    """
    return F.normalize(x.abs().pow(power).mean(1).flatten(1))


@without_autocast
def at_loss(student: Tensor, teacher: Tensor, power: float = 2.0) -> Tensor:
    r"""Mean squared difference of attention maps.

    :math:`L = \frac{1}{BHW} \lVert A(f^s) - A(f^t) \rVert^2` with
    :func:`attention` A (Zagoruyko and Komodakis, *Paying More Attention to
    Attention*, ICLR 2017). The larger map is averaged to the smaller first.

    Args:
        student (Tensor): Shape (B, C, H, W).
        teacher (Tensor): Shape (B, C', H', W'); detached.
        power (float): Exponent of the absolute values.

    Returns:
        Tensor: A scalar, at least 0, in float32 for half-precision input;
        zero for no image.

    Raises:
        ValueError: If they are no maps of the same number of images.
    """
    check_images(student, teacher, 'at_loss')
    student, teacher = in_float(student, teacher.detach())
    if not student.numel():
        return student.sum()
    height, width = student.shape[2:]
    teacher_height, teacher_width = teacher.shape[2:]
    if height > teacher_height:
        student = F.adaptive_avg_pool2d(
            student, (teacher_height, teacher_width)
        )
    elif height < teacher_height:
        teacher = F.adaptive_avg_pool2d(teacher, (height, width))
    return F.mse_loss(attention(student, power), attention(teacher, power))


@MODELS.register_module()
class ATLoss(FeatureLoss):
    """Registered form of :func:`at_loss`, the sum over stages.

    Stages are paired from the shallow end, as in mdistiller; where one net
    has more, its deepest are left out.

    Args:
        levels (Sequence[int], optional): Stages by index; all but the first
            by default.
        power (float): Exponent of the absolute values in the maps.
        loss_weight (float): 1,000 in mdistiller.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.
    """

    loss_name = 'loss_at'

    def __init__(
        self,
        levels: Optional[Sequence[int]] = None,
        power: float = 2.0,
        loss_weight: float = 1000.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        self.levels = levels
        self.power = power

    def build(self, student: Features, teacher: Features) -> None:
        """Check that both have maps, of all levels."""
        if self.levels is not None:
            choose(student.stages, self.levels, 'the student')
            choose(teacher.stages, self.levels, 'the teacher')
        check_maps(student.stages[1:], 'student', 'ATLoss')
        check_maps(teacher.stages[1:], 'teacher', 'ATLoss')

    def compare(self, student: Features, teacher: Features) -> Tensor:
        """See :func:`at_loss`."""
        count = min(len(student.stages), len(teacher.stages))
        levels = range(1, count) if self.levels is None else self.levels
        return sum(  # type: ignore[return-value]
            at_loss(student.stages[i], teacher.stages[i], self.power)
            for i in levels
        )
