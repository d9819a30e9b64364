"""FitNet: hints."""

from typing import Any, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import Features

from ..base import without_autocast
from .base import FeatureLoss, in_float, pair_levels


@without_autocast
def fitnet_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Mean squared difference of two maps of one shape.

    :math:`L = \frac{1}{BCHW} \lVert f^s - f^t \rVert^2` (Romero et al.,
    *FitNets: Hints for Thin Deep Nets*, ICLR 2015).

    Args:
        student (Tensor): Adapted map, shape (B, C, H, W).
        teacher (Tensor): Shape (B, C, H, W); detached.

    Returns:
        Tensor: A scalar, at least 0, in float32 for half-precision input;
        zero for no image.

    Raises:
        ValueError: If the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f'maps must have one shape, got {tuple(student.shape)} of the '
            f'student and {tuple(teacher.shape)} of the teacher'
        )
    student, teacher = in_float(student, teacher.detach())
    if not student.numel():
        return student.sum()
    return F.mse_loss(student, teacher)


def regressor(student: Tensor, teacher: Tensor) -> nn.Module:
    """Convolution, batch norm and ReLU from one shape to the other.

    Twice the teacher's size: 3 x 3 with stride 2; half of it: transposed,
    4 x 4; else a kernel that takes away what is more, 1 x 1 for equal sizes
    (mdistiller).

    Raises:
        ValueError: If none of these fits.
    """
    inputs, outputs = student.shape[1], teacher.shape[1]
    s, t = student.shape[2], teacher.shape[2]
    conv: nn.Module
    if s == 2 * t:
        conv = nn.Conv2d(inputs, outputs, 3, 2, 1)
    elif 2 * s == t:
        conv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
    elif s >= t:
        conv = nn.Conv2d(inputs, outputs, 1 + s - t)
    else:
        raise ValueError(
            f"FitNetLoss cannot bring the student's map of {s} x {s} to the "
            f"teacher's {t} x {t}; choose other levels"
        )
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


@MODELS.register_module()
class FitNetLoss(FeatureLoss):
    """Registered form of :func:`fitnet_loss`, with a regressor a level.

    The sum over the levels; trained together with the student, without the
    paper's stage of its own for the hint.

    Args:
        levels (Sequence[int]): Stages to compare, by index; 2 is that of
            mdistiller's hint. For detectors, levels of the neck.
        loss_weight (float): 100 in mdistiller.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.
    """

    loss_name = 'loss_fitnet'

    def __init__(
        self,
        levels: Sequence[int] = (2,),
        loss_weight: float = 100.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        self.levels = tuple(levels)
        self.regressors = nn.ModuleList()

    def build(self, student: Features, teacher: Features) -> None:
        """One regressor a level."""
        for s, t in pair_levels(student, teacher, self.levels, 'FitNetLoss'):
            self.regressors.append(regressor(s, t))

    def compare(self, student: Features, teacher: Features) -> Tensor:
        """See :func:`fitnet_loss`."""
        total = student.stages[0].new_zeros(())
        for level, adapt in zip(self.levels, self.regressors):
            s, t = student.stages[level], teacher.stages[level]
            total = total + fitnet_loss(adapt(s), t)
        return total
