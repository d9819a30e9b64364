"""ReviewKD: knowledge review."""

from typing import Any, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import Features

from ..base import without_autocast
from .base import FeatureLoss, check_images, check_maps, in_float, pooled


@without_autocast
def hcl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Hierarchical context loss of one level.

    Mean squared difference of the maps and of their averages on grids of 4,
    2 and 1 (those smaller than the map), with weights 1, 1/2, 1/4, 1/8,
    divided by the sum of the weights (Chen et al., *Distilling Knowledge via
    Knowledge Review*, CVPR 2021).

    Args:
        student (Tensor): Shape (B, C, H, W).
        teacher (Tensor): Shape (B, C, H, W); detached.

    Returns:
        Tensor: A scalar, at least 0, in float32 for half-precision input;
        zero for no image.

    Raises:
        ValueError: If they are no maps of one shape.
    """
    check_images(student, teacher, 'hcl_loss')
    if student.shape != teacher.shape:
        raise ValueError(
            f'maps must have one shape, got {tuple(student.shape)} of the '
            f'student and {tuple(teacher.shape)} of the teacher'
        )
    student, teacher = in_float(student, teacher.detach())
    if not student.numel():
        return student.sum()
    loss = F.mse_loss(student, teacher)
    weight = total = 1.0
    for grid in (4, 2, 1):
        if grid >= student.shape[2]:
            continue
        weight /= 2
        total += weight
        loss = loss + weight * F.mse_loss(
            F.adaptive_avg_pool2d(student, grid),
            F.adaptive_avg_pool2d(teacher, grid),
        )
    return loss / total


class ABF(nn.Module):
    """Attention-based fusion of a level with what came from the deeper ones.

    Args:
        inputs (int): Channels of the student's level.
        mid (int): Channels in between.
        outputs (int): Channels of the teacher's level.
        fuse (bool): Whether there is something deeper.
    """

    def __init__(self, inputs: int, mid: int, outputs: int, fuse: bool):
        super().__init__()
        first = nn.Conv2d(inputs, mid, 1, bias=False)
        last = nn.Conv2d(mid, outputs, 3, padding=1, bias=False)
        self.conv1 = nn.Sequential(first, nn.BatchNorm2d(mid))
        self.conv2 = nn.Sequential(last, nn.BatchNorm2d(outputs))
        self.gate = nn.Conv2d(2 * mid, 2, 1) if fuse else None
        for conv in (first, last):
            nn.init.kaiming_uniform_(conv.weight, a=1)

    def forward(
        self, x: Tensor, deeper: Optional[Tensor], size: Tuple[int, ...]
    ) -> Tuple[Tensor, Tensor]:
        """The level in the teacher's shape, and what goes on to the next."""
        x = self.conv1(x)
        if self.gate is not None and deeper is not None:
            deeper = F.interpolate(deeper, x.shape[2:])
            gates = self.gate(torch.cat([x, deeper], 1)).sigmoid()
            x = x * gates[:, :1] + deeper * gates[:, 1:]
        if x.shape[2:] != size:
            x = F.interpolate(x, size)
        return self.conv2(x), x


@MODELS.register_module()
class ReviewKDLoss(FeatureLoss):
    """Levels of the student, fused from deep to shallow, by :func:`hcl_loss`.

    The teacher's maps are those before their last ReLU. Levels are paired
    from the deep end; all channels and sizes come from the networks.

    Args:
        first (int): First of the teacher's levels that counts: 1 leaves out
            the stem of a classifier; 0 is for detectors.
        pooled (bool): Let the pooled features be the deepest level.
        student_preacts (bool): Take the student's maps before their ReLU
            too, as on ImageNet.
        max_mid (int): Most channels in between.
        **kwargs (Any): ``loss_weight`` (1 to 8, by the pair), ``loss_name``
            and ``schedule`` of :class:`DistillLoss`; 20 epochs of warm-up on
            CIFAR-100, 1 on ImageNet.

    Raises:
        ValueError: If ``first`` is negative or ``max_mid`` not positive.
    """

    loss_name = 'loss_review'

    def __init__(
        self,
        first: int = 1,
        pooled: bool = True,
        student_preacts: bool = False,
        max_mid: int = 512,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if first < 0 or max_mid < 1:
            raise ValueError(
                'ReviewKDLoss needs first >= 0 and max_mid >= 1, got '
                f'{first} and {max_mid}'
            )
        self.first = first
        self.pooled = pooled
        self.student_preacts = student_preacts
        self.max_mid = max_mid
        self.fusions = nn.ModuleList()

    def levels(
        self, student: Features, teacher: Features
    ) -> Tuple[List[Tensor], List[Tensor]]:
        """The maps that count, deep first."""
        levels = list(
            student.preacts if self.student_preacts else student.stages
        )
        targets = list(teacher.preacts[self.first :])
        if self.pooled:
            vectors = pooled(student, 'student', 'ReviewKDLoss')
            levels.append(vectors[:, :, None, None])
            vectors = pooled(teacher, 'teacher', 'ReviewKDLoss')
            targets.append(vectors[:, :, None, None])
        count = min(len(levels), len(targets))
        return levels[: -count - 1 : -1], targets[: -count - 1 : -1]

    def build(self, student: Features, teacher: Features) -> None:
        """One fusion a level."""
        levels, targets = self.levels(student, teacher)
        check_maps(levels, 'student', 'ReviewKDLoss')
        check_maps(targets, 'teacher', 'ReviewKDLoss')
        mid = min(self.max_mid, levels[0].shape[1])
        for i, (s, t) in enumerate(zip(levels, targets)):
            self.fusions.append(ABF(s.shape[1], mid, t.shape[1], i > 0))

    def compare(self, student: Features, teacher: Features) -> Tensor:
        """The sum of :func:`hcl_loss` over the levels."""
        levels, targets = self.levels(student, teacher)
        total = levels[0].new_zeros(())
        deeper: Optional[Tensor] = None
        for s, t, fusion in zip(levels, targets, self.fusions):
            out, deeper = fusion(s, deeper, t.shape[2:])
            total = total + hcl_loss(out, t)
        return total
