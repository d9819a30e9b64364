"""Where on a detector's feature maps the objects are."""

from typing import Any, List, Sequence

import torch
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

from mmdet_rankkd.losses.fgfi import imitation_mask


def imitation_masks(
    detector: Any,
    maps: Sequence[Tensor],
    data_samples: Sequence[Any],
    factor: float,
) -> List[Tensor]:
    """Masks of fine-grained imitation for every level of a neck.

    Args:
        detector (nn.Module): With anchors in its ``rpn_head`` or
            ``bbox_head``.
        maps (Sequence[Tensor]): Levels of its neck, (B, C, H, W).
        data_samples (Sequence): Of a training batch.
        factor (float): See :class:`mmdet_rankkd.losses.FGFILoss`.

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
            overlaps = bbox_overlaps(anchors, boxes)
            rows.append(imitation_mask(places, boxes, overlaps, factor))
        masks.append(torch.stack(rows))
    return masks
