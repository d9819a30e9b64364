"""OFD: overhaul of feature distillation."""

import math
from typing import Any, List

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import Features

from ..base import without_autocast
from .base import FeatureLoss, check_images, check_maps, in_float


def margin_of(norm: nn.BatchNorm2d) -> Tensor:
    r"""Expected negative response of each channel behind a batch norm.

    For a response :math:`\mathcal N(m, s^2)`, with m the norm's bias and s
    the absolute value of its weight, the mean of its negative part:
    :math:`m - s e^{-(m/s)^2 / 2} / (\sqrt{2 \pi} \Phi(-m/s))`, and
    :math:`-3 s` where :math:`\Phi(-m/s) \le 0.001` (Heo et al., *A
    Comprehensive Overhaul of Feature Distillation*, ICCV 2019).

    Args:
        norm (nn.BatchNorm2d): The norm before a ReLU.

    Returns:
        Tensor: Shape (C,), at most 0.
    """
    s = norm.weight.detach().double().abs()
    m = norm.bias.detach().double()
    part = 0.5 * torch.erfc(m / s / math.sqrt(2))
    density = (-((m / s) ** 2) / 2).exp() / math.sqrt(2 * math.pi)
    margin = torch.where(part > 1e-3, m - s * density / part, -3 * s)
    return margin.float()


@without_autocast
def ofd_loss(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    r"""Partial squared difference of two maps before their ReLU.

    Positive responses of the teacher are to be met; negative ones, raised to
    the margin, only where the student's are above them. The sum over C, H
    and W, the mean over B.

    Args:
        student (Tensor): Adapted map, shape (B, C, H, W).
        teacher (Tensor): Shape (B, C, H, W); detached.
        margin (Tensor): Shape (C,), at most 0; see :func:`margin_of`.

    Returns:
        Tensor: A scalar, at least 0, in float32 for half-precision input.

    Raises:
        ValueError: If they are no maps of one shape, or if the margin is not
            one value a channel.
    """
    check_images(student, teacher, 'ofd_loss')
    if student.shape != teacher.shape or margin.shape != student.shape[1:2]:
        raise ValueError(
            'maps must have one shape and a margin a channel, got '
            f'{tuple(student.shape)} of the student, {tuple(teacher.shape)} '
            f'of the teacher and margins {tuple(margin.shape)}'
        )
    student, teacher = in_float(student, teacher.detach())
    floor = margin.to(teacher)[None, :, None, None]
    target = torch.maximum(teacher, floor)
    counts = (student > target) | (teacher > 0)
    return ((student - target).square() * counts).sum() / max(len(student), 1)


@MODELS.register_module()
class OFDLoss(FeatureLoss):
    """Registered form of :func:`ofd_loss`, with connectors to the teacher.

    Stages are paired from the deep end and weigh 1, 1/2, 1/4, ... from
    there; the stem's is left out. The teacher must have a batch norm before
    the last ReLU of each stage (``Network.last_norms``). It stays in
    evaluation mode; mdistiller leaves it in training mode for this method.

    Args:
        loss_weight (float): 1e-3 on CIFAR-100, 1e-4 on ImageNet.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.
    """

    loss_name = 'loss_ofd'

    def __init__(self, loss_weight: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        self.connectors = nn.ModuleList()
        self.margins: List[Tensor] = []

    def build(self, student: Features, teacher: Features) -> None:
        """One connector, 1 x 1 and batch norm, a stage."""
        stages, targets = student.preacts[1:], teacher.preacts[1:]
        count = min(len(stages), len(targets))
        check_maps(stages, 'student', 'OFDLoss')
        check_maps(targets, 'teacher', 'OFDLoss')
        for s, t in zip(stages[-count:], targets[-count:]):
            conv = nn.Conv2d(s.shape[1], t.shape[1], 1, bias=False)
            nn.init.normal_(conv.weight, 0, (2 / t.shape[1]) ** 0.5)
            norm = nn.BatchNorm2d(t.shape[1])
            self.connectors.append(nn.Sequential(conv, norm))

    def teacher_is_ready(self, teacher: nn.Module) -> None:
        """Take the margins from the teacher's batch norms.

        Raises:
            TypeError: If its network does not name them.
        """
        names = getattr(teacher.backbone, 'last_norms', None)
        norms = names() if names is not None else []
        if len(norms) < len(self.connectors):
            raise TypeError(
                'OFDLoss needs a teacher with a batch norm before the last '
                f'ReLU of each stage; {type(teacher.backbone).__name__} '
                f'names {len(norms)} for {len(self.connectors)} stages'
            )
        self.margins = [
            margin_of(n) for n in norms[len(norms) - len(self.connectors) :]
        ]

    def compare(self, student: Features, teacher: Features) -> Tensor:
        """The weighted sum of :func:`ofd_loss` over the stages."""
        count = len(self.connectors)
        total = student.preacts[-1].new_zeros(())
        for i, connect in enumerate(self.connectors):
            s = connect(student.preacts[i - count])
            t = teacher.preacts[i - count]
            if t.shape[2:] != s.shape[2:]:
                t = F.adaptive_avg_pool2d(t, s.shape[2:])
            margin = self.margins[i].to(s.device)
            total = total + ofd_loss(s, t, margin) / 2 ** (count - 1 - i)
        return total
