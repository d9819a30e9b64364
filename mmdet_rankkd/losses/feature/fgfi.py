"""FGFI: fine-grained feature imitation."""

from typing import Any, List, Optional, Sequence, Union

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmdet_rankkd.ops import box_iou
from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import (
    DistillBatch,
    Features,
    mean_over_processes,
)

from ..base import without_autocast
from .base import FeatureLoss, check_sizes, in_float, pair_levels


@without_autocast
def fgfi_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    masks: Sequence[Tensor],
) -> Tensor:
    r"""Squared difference of maps where the masks are on.

    :math:`L = \frac{1}{2 N} \sum_l \sum M_l (f^t_l - f^s_l)^2`, summed over
    levels, images, places and channels; N is the number of places that are
    on in the batch, of several processes the mean of theirs (Wang et al.,
    *Distilling Object Detectors with Fine-grained Feature Imitation*, CVPR
    2019).

    Args:
        student (Sequence[Tensor]): Adapted maps, shape (B, C, H, W) each.
        teacher (Sequence[Tensor]): Maps of the same shapes; detached.
        masks (Sequence[Tensor]): Boolean, shape (B, H, W) each.

    Returns:
        Tensor: A scalar, at least 0, in float32 for half-precision input;
        zero, attached to the graph, where no place is on.
    """
    total: Union[float, Tensor] = 0.0
    for s, t, mask in zip(student, teacher, masks):
        s, t = in_float(s, t.detach())
        total = total + ((t - s).square().sum(1) * mask).sum()
    count = torch.stack([mask.sum() for mask in masks]).sum()
    dtype = torch.promote_types(student[0].dtype, torch.float32)
    return total / (2 * mean_over_processes(count.to(dtype)))


@MODELS.register_module()
class FGFILoss(FeatureLoss):
    """Registered form of :func:`fgfi_loss`, with an adapter a level.

    A place of a level is on if one of its anchors overlaps an object by more
    than ``mask_factor`` times the best overlap of that object with any
    anchor of the level. The published code has one level; that each level of
    a pyramid has masks of its own, and all share N, is a reading of it.

    Args:
        levels (Sequence[int]): Levels of the neck.
        mask_factor (float): Factor in (0, 1).
        loss_weight (float): Factor on the loss, the paper's lambda.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`; the published code leaves the loss out of
            the first 400 iterations.

    Raises:
        ValueError: If the factor is out of range.
    """

    loss_name = 'loss_fgfi'

    def __init__(
        self,
        levels: Sequence[int] = (0, 1, 2, 3, 4),
        mask_factor: float = 0.5,
        loss_weight: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        if not 0 < mask_factor < 1:
            raise ValueError(
                f'mask_factor must be between 0 and 1, got {mask_factor}'
            )
        self.levels = tuple(levels)
        self.mask_factor = mask_factor
        self.adapters = nn.ModuleList()

    def build(self, student: Features, teacher: Features) -> None:
        """One 3 x 3 convolution and ReLU a level.

        Raises:
            ValueError: If a level of the two has different sizes.
        """
        pairs = pair_levels(student, teacher, self.levels, 'FGFILoss')
        check_sizes(pairs, self.levels, 'FGFILoss')
        for s, t in pairs:
            conv = nn.Conv2d(s.shape[1], t.shape[1], 3, padding=1)
            nn.init.trunc_normal_(conv.weight, std=1e-4)
            nn.init.zeros_(conv.get_parameter('bias'))
            self.adapters.append(nn.Sequential(conv, nn.ReLU()))

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of a batch, on masks of the student's anchors."""
        layers = batch.layers(type(self).__name__)
        masks = imitation_masks(
            batch.student_model,
            layers.student.stages,
            batch.ground_truth('FGFILoss'),
            self.mask_factor,
        )
        return self(*layers, masks=masks)

    def forward(
        self,
        student: Features,
        teacher: Features,
        masks: Optional[List[Tensor]] = None,
    ) -> Tensor:
        """Weighted :func:`fgfi_loss`, with a mask for each level of the neck.

        Raises:
            ValueError: If there are no masks.
        """
        if masks is None:
            raise ValueError('FGFILoss needs the masks of the levels')
        adapted = [
            adapt(student.stages[i])
            for i, adapt in zip(self.levels, self.adapters)
        ]
        return self.current_weight * fgfi_loss(
            adapted,
            [teacher.stages[i] for i in self.levels],
            [masks[i] for i in self.levels],
        )


def imitation_mask(
    anchors: Tensor, boxes: Tensor, overlaps: Tensor, factor: float
) -> Tensor:
    """Places with an anchor near enough to an object.

    Args:
        anchors (Tensor): Shape (H, W, A, 4); only its shape counts.
        boxes (Tensor): Objects, shape (G, 4).
        overlaps (Tensor): IoU of anchors and objects, (H * W * A, G).
        factor (float): Factor of the best overlap of each object.

    Returns:
        Tensor: Boolean, shape (H, W).
    """
    height, width = anchors.shape[:2]
    if not len(boxes):
        return torch.zeros(
            height, width, dtype=torch.bool, device=anchors.device
        )
    near = overlaps > factor * overlaps.amax(0)
    return near.view(height, width, -1).any(-1)


def imitation_masks(
    detector: Any,
    maps: Sequence[Tensor],
    data_samples: Sequence[BaseDataElement],
    factor: float,
) -> List[Tensor]:
    """Masks of fine-grained imitation for every level of a neck.

    Args:
        detector (nn.Module): Detector with anchors in its ``rpn_head`` or
            ``bbox_head``.
        maps (Sequence[Tensor]): Levels of its neck, (B, C, H, W).
        data_samples (Sequence): Data samples of a training batch.
        factor (float): See :class:`FGFILoss`.

    Returns:
        list[Tensor]: Boolean, shape (B, H, W), a level.

    Raises:
        TypeError: If the detector has no anchors.
        ValueError: If it has anchors for another number of levels.
    """
    head = getattr(detector, 'rpn_head', None)
    if head is None:
        head = getattr(detector, 'bbox_head', None)
    generator: Any = getattr(head, 'prior_generator', None)
    if not hasattr(generator, 'base_anchors'):
        raise TypeError(
            'FGFILoss needs a detector with anchors in its rpn_head or '
            f'bbox_head; {type(detector).__name__} has none'
        )
    if generator.num_levels != len(maps):
        raise ValueError(
            f'the detector has anchors for {generator.num_levels} levels, '
            f'but the feature layer gives {len(maps)} maps'
        )
    sizes = [tuple(m.shape[2:]) for m in maps]
    levels = generator.grid_priors(sizes, device=maps[0].device)
    masks = []
    for anchors, (height, width) in zip(levels, sizes):
        places = anchors.view(height, width, -1, 4)
        rows = []
        for sample in data_samples:
            boxes = sample.gt_instances.bboxes
            boxes = getattr(boxes, 'tensor', boxes).to(anchors)
            overlaps = box_iou(anchors, boxes)
            rows.append(imitation_mask(places, boxes, overlaps, factor))
        masks.append(torch.stack(rows))
    return masks
