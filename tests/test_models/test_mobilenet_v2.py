"""MobileNetV2 without unused layers, beside MMDetection's whole one."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdet_rankkd.models import MobileNetV2

from ..helpers import ROOT

DIGITS = 'configs/digits/faster-rcnn_mobilenet-v2-half_fpn_digits.py'


def both(**settings):
    """MMDetection's and ours, initialised from one seed."""
    found = []
    for name in ('mmdet.MobileNetV2', 'mmdet_rankkd.MobileNetV2'):
        torch.manual_seed(0)
        net = MODELS.build(dict(type=name, **settings))
        net.init_weights()
        found.append((net, torch.rand(3)))
    (whole, number), (net, other) = found
    # What is built and initialised afterwards gets the same numbers.
    assert torch.equal(number, other)
    assert type(net) is MobileNetV2
    return whole, net


def names(*layers):
    return tuple(f'{layer}.' for layer in layers)


@pytest.mark.parametrize(
    'indices, unused',
    [
        ((1, 2, 4, 6), ['conv2']),
        ((1, 2, 4, 7), []),
        ((7,), []),
        ((4, 2), ['layer6', 'layer7', 'conv2']),
        ((0,), [*(f'layer{i}' for i in range(2, 8)), 'conv2']),
    ],
)
@pytest.mark.parametrize('widen_factor', [0.5, 1.0])
def test_mmdetections_but_for_unused_layers(indices, unused, widen_factor):
    whole, net = both(out_indices=indices, widen_factor=widen_factor)
    weights = whole.state_dict()
    kept = [k for k in weights if not k.startswith(names(*unused))]
    found = net.state_dict()
    assert list(found) == kept
    for key in kept:
        assert torch.equal(found[key], weights[key])
    x = torch.randn(2, 3, 64, 64)
    for mode in (True, False):
        net.train(mode)
        whole.train(mode)
        outputs, expected = net(x), whole(x)
        assert len(outputs) == len(indices)
        for a, b in zip(outputs, expected):
            assert torch.equal(a, b)
    net.train()
    sum(out.square().mean() for out in net(x)).backward()
    assert all(p.grad is not None for p in net.parameters())
    whole.train()
    sum(out.square().mean() for out in whole(x)).backward()
    grads = {k: p.grad for k, p in whole.named_parameters()}
    for key, parameter in net.named_parameters():
        assert torch.equal(parameter.grad, grads[key])
    assert {k.split('.')[0] for k, g in grads.items() if g is None} == set(
        unused
    )


@pytest.mark.parametrize('stages', [-1, 0, 3, 7])
def test_frozen_stages(stages):
    whole, net = both(out_indices=(1, 3), frozen_stages=stages)
    whole.train()
    net.train()
    needs = {k: p.requires_grad for k, p in whole.named_parameters()}
    for key, parameter in net.named_parameters():
        assert parameter.requires_grad == needs[key]


def test_pretrained(tmp_path):
    """A file of MMDetection's whole network, and the seed after it."""
    whole, _ = both(out_indices=(1, 2, 4, 6))
    for parameter in whole.parameters():
        torch.nn.init.normal_(parameter)
    file = tmp_path / 'mobilenet_v2.pth'
    torch.save(whole.state_dict(), file)
    again, net = both(
        out_indices=(1, 2, 4, 6),
        init_cfg=dict(type='Pretrained', checkpoint=str(file)),
    )
    expected = [whole.state_dict(), again.state_dict()]
    for key, value in net.state_dict().items():
        assert all(torch.equal(value, weights[key]) for weights in expected)


def test_a_checkpoint_goes_both_ways():
    whole, net = both(out_indices=(1, 2, 4, 6))
    result = whole.load_state_dict(net.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert all(k.startswith('conv2.') for k in result.missing_keys)
    result = net.load_state_dict(whole.state_dict(), strict=False)
    assert not result.missing_keys


def test_the_layers_left_out_are_forgotten():
    net = MobileNetV2(out_indices=(1, 2))
    assert 'conv2' not in dict(net.named_modules())
    twin = copy.deepcopy(net)
    net.init_weights()
    assert not net.left_out and len(twin.left_out) == 5
    seen = []
    net.apply(lambda module: seen.append(module))
    assert set(map(id, seen)) == set(map(id, net.modules()))


def test_seeded_detectors_are_the_same():
    """The initial weights of all of the README's student, as with
    MMDetection's network.
    """
    found = []
    for kind in ('mmdet.MobileNetV2', None):
        cfg = Config.fromfile(ROOT / DIGITS)
        cfg.model.backbone.type = kind or cfg.model.backbone.type
        torch.manual_seed(3)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model)
        model.init_weights()
        found.append(model.state_dict())
    whole, ours = found
    assert len(whole) > len(ours)
    for key, value in ours.items():
        assert torch.equal(value, whole[key]), key
