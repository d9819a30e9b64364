"""RoIAlign by matrix products against mmcv's."""

import pytest
import torch
from mmcv.ops import roi_align as by_mmcv

from mmdet_rankkd.ops import roi_align

# A seventh of the first ones, in cells of 4, is whole.
SIZES = [(28.0, 56.0), (56.0, 112.0), (28.000002, 27.999998)]


def boxes(count, height, width, dtype=torch.float32):
    """Boxes of all sizes, some partly or wholly outside, some of no area."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator, dtype=dtype)
    corner = corner * torch.tensor([width, height]) * 1.4 - 0.2 * height
    size = torch.rand(count, 2, generator=generator, dtype=dtype) ** 2
    size = size * torch.tensor([width, height])
    size[:3] = 0
    size[3, 0] = 0
    image = torch.arange(count)[:, None] % 2
    return torch.cat([image.to(dtype), corner, corner + size], 1)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [-1, 0, 1, 3])
@pytest.mark.parametrize('scale', [0.125, 1.0])
@pytest.mark.parametrize('layout', ['contiguous_format', 'channels_last'])
def test_same_as_mmcv(aligned, ratio, scale, layout):
    features = torch.randn(2, 5, 11, 17, dtype=torch.float64)
    rois = boxes(60, 11 / scale, 17 / scale, torch.float64)
    expected = by_mmcv(features, rois, (7, 4), scale, ratio, 'avg', aligned)
    assert expected[4:].any(3).any(2).any(1).sum() > 30
    features = features.contiguous(memory_format=getattr(torch, layout))
    found = roi_align(features, rois, (7, 4), scale, ratio, aligned)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_float32():
    """To its rounding, and in the same number of samples a bin."""
    features = torch.randn(2, 8, 40, 50)
    rois = torch.tensor([[0, 3.0, 5, 3 + x, 5 + y] for x, y in SIZES])
    rois = torch.cat([rois, boxes(200, 160, 200)])
    expected = by_mmcv(features, rois, (7, 7), 0.25, 0, 'avg', True)
    found = roi_align(features, rois, (7, 7), 0.25)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize('count', [0, 1])
@pytest.mark.parametrize('ratio', [0, 2])
def test_no_box_and_none_with_an_area(count, ratio):
    features = torch.randn(1, 3, 6, 6)
    rois = torch.tensor([[0, 2.0, 2, 2, 2]])[:count]
    found = roi_align(features, rois, (2, 2), 1.0, ratio)
    expected = by_mmcv(features, rois, (2, 2), 1.0, ratio, 'avg', True)
    assert found.shape == (count, 3, 2, 2)
    torch.testing.assert_close(found, expected)


def test_gradients():
    """mmcv's, and those of finite differences; none of the boxes."""
    features = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    features.requires_grad_()
    rois = boxes(12, 7, 9, torch.float64).requires_grad_()
    results = [
        function(features, rois, (2, 3), 1.0, 0, *mode)
        for function, mode in ((by_mmcv, ['avg', True]), (roi_align, [True]))
    ]
    weight = torch.randn_like(results[0])
    first, second = (
        torch.autograd.grad(x, features, weight)[0] for x in results
    )
    assert first.abs().sum() > 1
    torch.testing.assert_close(second, first, rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, rois, (2, 3), 1.0, 2), features
    )
    (none,) = torch.autograd.grad(
        results[1].sum(), [rois], allow_unused=True, retain_graph=True
    )
    assert none is None


def test_no_box_is_attached():
    """As a step of several processes needs it."""
    features = torch.randn(1, 3, 6, 6, requires_grad=True)
    roi_align(features, torch.zeros(0, 5), (2, 2)).sum().backward()
    assert not features.grad.any()


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -3.0])
def test_boxes_that_are_none(value):
    """Mmcv's fails for the last one; infinite ones would take all memory."""
    rois = torch.tensor([[0, 1.0, 1, 4, value]])
    with pytest.raises(ValueError, match='boxes must be finite, with x1'):
        roi_align(torch.randn(1, 3, 6, 6), rois, (2, 2))


def test_under_autocast():
    """In float32, as mmcv's is there."""
    features = torch.randn(1, 3, 6, 6, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 1, 4, 5]])
    expected = roi_align(features, rois, (2, 2))
    (gradient,) = torch.autograd.grad(expected.sum(), features)
    with torch.autocast('cpu', torch.bfloat16):
        found = roi_align(features, rois, (2, 2))
        (same,) = torch.autograd.grad(found.sum(), features)
    assert torch.equal(found, expected) and torch.equal(same, gradient)
