"""Boxes."""

from typing import Tuple

import torch
from torch import Tensor


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of each box with each other.

    Equal to ``mmdet.structures.bbox.bbox_overlaps``, which losses, as they
    know nothing of detectors, do not import.

    Args:
        first (Tensor): Shape (N, 4): x1, y1, x2, y2.
        second (Tensor): Shape (M, 4).

    Returns:
        Tensor: Shape (N, M), in [0, 1]; 0 for boxes without an area.
    """
    areas = [
        (x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (first, second)
    ]
    low = torch.max(first[:, None, :2], second[None, :, :2])
    high = torch.min(first[:, None, 2:], second[None, :, 2:])
    sides = (high - low).clamp(min=0)
    overlap = sides[..., 0] * sides[..., 1]
    union = areas[0][:, None] + areas[1][None] - overlap
    return overlap / union.clamp(min=1e-6)


def centre_distance(first: Tensor, second: Tensor) -> Tensor:
    """Squared distance of centres over the squared diagonal around both.

    Args:
        first (Tensor): Shape (N, 4): x1, y1, x2, y2.
        second (Tensor): Shape (M, 4).

    Returns:
        Tensor: Shape (N, M), in [0, 1).
    """
    centres = [(x[:, :2] + x[:, 2:]) / 2 for x in (first, second)]
    apart = (centres[0][:, None] - centres[1][None]).square().sum(-1)
    low = torch.min(first[:, None, :2], second[None, :, :2])
    high = torch.max(first[:, None, 2:], second[None, :, 2:])
    return apart / (high - low).square().sum(-1).clamp(min=1e-6)


def paired_iou(first: Tensor, second: Tensor) -> Tuple[Tensor, Tensor]:
    """IoU and generalised IoU of each box with the one beside it.

    The second is less by the part of the smallest box around both that
    neither covers (Rezatofighi et al., *Generalized Intersection over
    Union*, CVPR 2019).

    Args:
        first (Tensor): Shape (N, 4): x1, y1, x2, y2.
        second (Tensor): Shape (N, 4).

    Returns:
        tuple[Tensor, Tensor]: Shape (N,), in [0, 1] and (-1, 1].
    """
    low = torch.max(first[:, :2], second[:, :2])
    high = torch.min(first[:, 2:], second[:, 2:])
    overlap = (high - low).clamp(min=0).prod(1)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (first, second)]
    union = (areas[0] + areas[1] - overlap).clamp(min=1e-6)
    low = torch.min(first[:, :2], second[:, :2])
    high = torch.max(first[:, 2:], second[:, 2:])
    around = (high - low).clamp(min=0).prod(1).clamp(min=1e-6)
    iou = overlap / union
    return iou, iou - (around - union) / around
