"""PKD: distillation by the Pearson correlation of maps."""

from typing import Any, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import Features

from ..base import without_autocast
from .base import FeatureLoss, align, check_images, in_float, pair_levels

EPS = 1e-6


def normalize(x: Tensor) -> Tensor:
    """Each channel of a map with mean 0 and deviation 1 over the batch.

    The deviation is that of a sample, with N - 1; to it, 1e-6 is added.

    Args:
        x (Tensor): Shape (B, C, H, W).
    """
    dims = (0, 2, 3)
    std = x.std(dims, keepdim=True)
    return (x - x.mean(dims, keepdim=True)) / (std + EPS)


@without_autocast
def pkd_loss(
    student: Tensor, teacher: Tensor, resize_student: bool = True
) -> Tensor:
    r"""One minus the correlation of two maps, as a squared difference.

    :math:`L = \frac{1}{2 C N} \sum_c \lVert \hat f^s_c - \hat f^t_c
    \rVert^2`, with the :math:`N = BHW` values of each channel brought to
    mean 0 and deviation 1 (Cao et al., *PKD: General Distillation Framework
    for Object Detectors via Pearson Correlation Coefficient*, NeurIPS 2022,
    Eq. 4). With r the correlation of the two in channel c, it is the mean of
    :math:`(1 - r_c)(N - 1) / N`: scale and offset of either network do not
    count.

    Where their sizes differ, the student's map is resized to the teacher's,
    bilinear without aligned corners.

    Args:
        student (Tensor): Adapted map, shape (B, C, H, W).
        teacher (Tensor): Shape (B, C, H', W'); detached.
        resize_student (bool): Resize the student's map; False for the
            teacher's.

    Returns:
        Tensor: A scalar in [0, 2), in float32 for half-precision input; zero,
        attached to the graph, for fewer than two values a channel. A channel
        of the teacher that is constant counts 1/2 and one of the student
        likewise, with a gradient of up to 1e6 for the student's.

    Raises:
        ValueError: If the channels or the batches differ.
    """
    check_images(student, teacher, 'pkd_loss')
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(
            'maps must have the same images and channels, got '
            f'{tuple(student.shape)} of the student and '
            f'{tuple(teacher.shape)} of the teacher'
        )
    student, teacher = in_float(student, teacher.detach())
    sizes = student.shape[2:], teacher.shape[2:]
    if sizes[0] != sizes[1] and student.numel():
        if resize_student:
            student = F.interpolate(student, sizes[1], mode='bilinear')
        else:
            teacher = F.interpolate(teacher, sizes[0], mode='bilinear')
    if student.numel() < 2 * student.shape[1] or not student.numel():
        return 0 * student.sum()
    return F.mse_loss(normalize(student), normalize(teacher)) / 2


@MODELS.register_module()
class PKDLoss(FeatureLoss):
    """Registered form of :func:`pkd_loss`, the sum over levels.

    A level whose channels differ gets a 1 x 1 convolution on the student's
    side, which the published code does not have; with equal channels
    nothing is learnt. The teacher may be of another family, with
    ``logits=dict(type='mmdet_rankkd.NoLogits')``: levels are paired by their
    index, so both should have the same strides.

    Published weights, with levels 0 to 3 of five: 6 for Faster R-CNN, 10 for
    RetinaNet (teacher RetinaNet or FCOS) and RepPoints.

    Args:
        levels (Sequence[int]): Levels of the neck, by index.
        resize_student (bool): Where sizes differ, resize the student's map;
            False for the teacher's.
        loss_weight (float): Weight of each level.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.
    """

    loss_name = 'loss_pkd'

    def __init__(
        self,
        levels: Sequence[int] = (0, 1, 2, 3),
        resize_student: bool = True,
        loss_weight: float = 6.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        self.levels = tuple(levels)
        self.resize_student = resize_student
        self.adapters = nn.ModuleList()

    def build(self, student: Features, teacher: Features) -> None:
        """One adapter a level; see :func:`.base.align`."""
        for s, t in pair_levels(student, teacher, self.levels, 'PKDLoss'):
            self.adapters.append(align(s, t))

    def compare(self, student: Features, teacher: Features) -> Tensor:
        """See :func:`pkd_loss`."""
        total = student.stages[0].new_zeros(()).float()
        for level, adapt in zip(self.levels, self.adapters):
            s, t = student.stages[level], teacher.stages[level]
            total = total + pkd_loss(adapt(s), t, self.resize_student)
        return total
