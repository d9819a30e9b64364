"""Masks of fine-grained imitation."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.models.task_modules import AnchorGenerator
from mmengine.structures import InstanceData
from torch import nn

from mmdet_rankkd.losses.feature.fgfi import imitation_masks


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.rpn_head = SimpleNamespace(
            prior_generator=AnchorGenerator(
                strides=[8, 16], ratios=[0.5, 1.0, 2.0], scales=[2]
            )
        )


def sample(*boxes):
    boxes = torch.tensor(boxes, dtype=torch.float).view(-1, 4)
    return SimpleNamespace(gt_instances=InstanceData(bboxes=boxes))


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inner = max(width, 0) * max(height, 0)
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return inner / (sum(areas) - inner)


def test_against_loops():
    detector = Detector()
    samples = [
        sample([3, 5, 20, 30], [30, 2, 60, 26]),
        sample([10, 10, 26, 26]),
        sample(),
    ]
    maps = [torch.zeros(3, 4, 6, 8), torch.zeros(3, 4, 3, 4)]
    found = imitation_masks(detector, maps, samples, 0.5)
    generator = detector.rpn_head.prior_generator
    for level, (mask, m) in enumerate(zip(found, maps)):
        height, width = m.shape[2:]
        assert mask.shape == (3, height, width) and mask.dtype == torch.bool
        base = generator.base_anchors[level]
        stride = generator.strides[level][0]
        for index, item in enumerate(samples):
            expected = torch.zeros(height, width, dtype=torch.bool)
            for box in item.gt_instances.bboxes.tolist():
                overlap = torch.tensor(
                    [
                        [
                            [
                                iou(
                                    (
                                        anchor
                                        + torch.tensor([x, y, x, y]) * stride
                                    ).tolist(),
                                    box,
                                )
                                for anchor in base
                            ]
                            for x in range(width)
                        ]
                        for y in range(height)
                    ]
                )
                near = overlap > 0.5 * overlap.max()
                expected |= near.any(-1)
            assert torch.equal(mask[index], expected)
    assert found[0][0].any() and not found[0][0].all()
    assert not found[0][2].any()


def test_what_has_no_anchors():
    with pytest.raises(TypeError, match='with anchors'):
        imitation_masks(nn.Identity(), [torch.zeros(1, 2, 3, 3)], [], 0.5)
    maps = [torch.zeros(1, 2, 3, 3)]
    with pytest.raises(ValueError, match='for 2 levels'):
        imitation_masks(Detector(), maps, [sample()], 0.5)
