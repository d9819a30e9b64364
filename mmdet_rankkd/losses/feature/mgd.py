"""MGD: masked generative distillation."""

from typing import Any, Sequence

import torch
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import Features

from ..base import without_autocast
from .base import FeatureLoss, align, check_sizes, in_float, pair_levels


@without_autocast
def mgd_loss(generated: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared difference of a generated map and the teacher's.

    :math:`L = \frac{1}{B} \sum_{b, c, i} (G(f^s_b \cdot M_b)_{ci} -
    f^t_{bci})^2`, the sum over channels and places (Yang et al., *Masked
    Generative Distillation*, ECCV 2022, Eq. 4). What G and M are,
    :class:`MGDLoss` says.

    Args:
        generated (Tensor): Shape (B, C, H, W), made of the student's map.
        teacher (Tensor): Shape (B, C, H, W); detached.

    Returns:
        Tensor: A scalar, at least 0, in float32 for half-precision input;
        zero, attached to the graph, for empty maps.

    Raises:
        ValueError: If the shapes differ.
    """
    if generated.shape != teacher.shape:
        raise ValueError(
            f'maps must have one shape, got {tuple(generated.shape)} of the '
            f'student and {tuple(teacher.shape)} of the teacher'
        )
    generated, teacher = in_float(generated, teacher.detach())
    return (generated - teacher).square().sum() / max(len(teacher), 1)


def random_mask(maps: Tensor, ratio: float) -> Tensor:
    """Places that are kept, each with probability ``1 - ratio``.

    Drawn from torch's generator of the device of the maps.

    Args:
        maps (Tensor): Shape (B, C, H, W).
        ratio (float): Part of the places that is masked.

    Returns:
        Tensor: Boolean, shape (B, 1, H, W), the same for all channels.
    """
    images, _, height, width = maps.shape
    drawn = torch.rand(images, 1, height, width, device=maps.device)
    return drawn <= 1 - ratio


@MODELS.register_module()
class MGDLoss(FeatureLoss):
    """The teacher's map, generated from the student's with places masked.

    For each level and image, a random part of the places of the student's
    map is set to 0, and 3 x 3 convolution, ReLU and 3 x 3 convolution make a
    map of it that :func:`mgd_loss` compares with the teacher's; the sum over
    levels. A level whose channels differ gets a 1 x 1 convolution before.

    In each step the masks are drawn from torch's generator, as published:
    also what the student draws later (dropout, sampled boxes) is not what it
    would be without this loss. While the loss is off by its schedule, and
    with weight 0, nothing is drawn.

    Published settings: ``mask_ratio=0.65, loss_weight=2e-5`` with all five
    levels for RetinaNet and RepPoints; ``mask_ratio=0.45,
    loss_weight=5e-7`` with levels 0 to 3 for Faster and Mask R-CNN.

    Args:
        levels (Sequence[int]): Levels of the neck, by index.
        mask_ratio (float): Part of the places that is masked, in [0, 1).
        loss_weight (float): Weight of each level.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.

    Raises:
        ValueError: If the ratio is out of its range.
    """

    loss_name = 'loss_mgd'

    def __init__(
        self,
        levels: Sequence[int] = (0, 1, 2, 3, 4),
        mask_ratio: float = 0.65,
        loss_weight: float = 2e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        if not 0 <= mask_ratio < 1:
            raise ValueError(
                f'mask_ratio must be at least 0 and below 1, got {mask_ratio}'
            )
        self.levels = tuple(levels)
        self.mask_ratio = mask_ratio
        self.adapters = nn.ModuleList()
        self.generators = nn.ModuleList()

    def build(self, student: Features, teacher: Features) -> None:
        """One adapter and one generator a level.

        Raises:
            ValueError: If a level is not there, or has different sizes.
        """
        pairs = pair_levels(student, teacher, self.levels, 'MGDLoss')
        check_sizes(pairs, self.levels, 'MGDLoss')
        for s, t in pairs:
            self.adapters.append(align(s, t))
            channels = t.shape[1]
            self.generators.append(
                nn.Sequential(
                    nn.Conv2d(channels, channels, 3, padding=1),
                    nn.ReLU(),
                    nn.Conv2d(channels, channels, 3, padding=1),
                )
            )

    def compare(self, student: Features, teacher: Features) -> Tensor:
        """See :func:`mgd_loss`."""
        total = student.stages[0].new_zeros(()).float()
        for level, adapt, generate in zip(
            self.levels, self.adapters, self.generators
        ):
            adapted = adapt(student.stages[level])
            masked = adapted * random_mask(adapted, self.mask_ratio)
            total = total + mgd_loss(generate(masked), teacher.stages[level])
        return total
