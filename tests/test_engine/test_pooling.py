"""Which RoIAlign layers work by matrix products, and where."""

import copy

import pytest
import torch
from mmcv.ops import RoIAlign
from torch import nn

from mmdet_rankkd.engine.pooling import pool_fast, waits_for_roi_align


def layers():
    return nn.Sequential(RoIAlign(2), RoIAlign(2, pool_mode='max'))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_where_it_stays_as_it_was(dtype, monkeypatch):
    """In half precision, and where maxima are taken."""
    calls = []
    monkeypatch.setattr(
        RoIAlign, 'forward', lambda *inputs: calls.append(inputs[0])
    )
    model = layers()
    assert pool_fast(model) == 1 and pool_fast(model) == 1
    features = torch.randn(1, 3, 8, 8).to(dtype)
    rois = torch.tensor([[0.0, 1, 1, 5, 5]])
    for layer in model:
        layer(features, rois)
    assert (model[0] in calls) == (dtype == torch.float16)
    assert model[1] in calls


def test_a_copy_pools_by_itself():
    """Such as the average that EMAHook keeps."""
    model = layers()
    pool_fast(model)
    other = copy.deepcopy(model)
    other[0].spatial_scale = 0.5
    features = torch.randn(1, 3, 8, 8)
    rois = torch.tensor([[0.0, 1, 1, 5, 5]])
    first, second = (x[0](features, rois) for x in (model, other))
    assert not torch.allclose(first, second)
    assert torch.equal(second, model[0](features, rois * 0.5))


def test_who_waits():
    """A detector with mmcv's layers on a processor, until they are changed."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), *layers())
    assert waits_for_roi_align(model)
    assert not waits_for_roi_align(copy.deepcopy(model).to('meta'))
    pool_fast(model)
    assert not waits_for_roi_align(model)
    assert not waits_for_roi_align(nn.Sequential(model[0], layers()[1]))


def test_layers_with_a_forward_of_their_own_stay():
    class Other(RoIAlign):
        def forward(self, input, rois):
            return 2 * super().forward(input, rois)

    model = nn.Sequential(Other(2), RoIAlign(2, use_torchvision=True))
    assert pool_fast(model) == 0
    assert not any('forward' in vars(x) for x in model)


def test_by_the_names_of_the_arguments():
    layer = RoIAlign(2)
    inputs = dict(
        input=torch.randn(1, 3, 8, 8), rois=torch.tensor([[0.0, 1, 1, 5, 5]])
    )
    expected = layer(**inputs)
    pool_fast(nn.Sequential(layer))
    torch.testing.assert_close(layer(**inputs), expected)
