"""MGD: published numbers, a loop, gradients, masks, edges."""

import pytest
import torch
from torch import nn

from mmdet_rankkd.losses import MGDLoss, mgd_loss
from mmdet_rankkd.losses.feature.mgd import random_mask
from mmdet_rankkd.structures import Features

from .maps import features, gradcheck, maps

# Loss and sums of the absolute values of the gradients of the student's map
# and of all parameters by det/mmdet/distillation/losses/mgd.py of yzd-v/MGD
# at 2c9da0b with alpha_mgd=1, of maps(2, C, 6, 7) and maps(2, 5, 6, 7,
# seed=1), with maps(..., seed=10 + i) / 10 as parameter i and
# torch.manual_seed(4) before: C, masked part, numbers.
PUBLISHED = [
    (5, 0.65, (244.4064864348079, 30.604332942016445, 1018.0680939657094)),
    (3, 0.65, (229.49807100386425, 5.438071777532177, 322.4897109425947)),
    (3, 0.45, (229.97290716460697, 6.626246358194673, 351.89776063345494)),
]


def one_level(map_):
    """Features of one map."""
    return Features([map_], [map_], None)


def seeded_loss(student, teacher, **settings):
    """The loss of one level with seeded weights in float64."""
    loss = MGDLoss(levels=(0,), loss_weight=1.0, **settings).double()
    loss.build(one_level(student), one_level(teacher))
    loss.double()
    for i, parameter in enumerate(loss.parameters()):
        parameter.data = maps(*parameter.shape, seed=10 + i) / 10
    return loss


@pytest.mark.parametrize('channels, ratio, expected', PUBLISHED)
def test_published_numbers(channels, ratio, expected):
    s, t = maps(2, channels, 6, 7).requires_grad_(), maps(2, 5, 6, 7, seed=1)
    loss = seeded_loss(s, t, mask_ratio=ratio)
    torch.manual_seed(4)
    value = loss(one_level(s), one_level(t))
    value.backward()
    grads = [p.grad.abs().sum() for p in loss.parameters()]
    found = value.item(), s.grad.abs().sum().item(), sum(grads).item()
    assert found == pytest.approx(expected, rel=1e-10)


def test_loop():
    s, t = maps(2, 3, 4, 5), maps(2, 3, 4, 5, seed=1)
    pairs = zip(s.flatten().tolist(), t.flatten().tolist())
    expected = sum((a - b) ** 2 for a, b in pairs) / 2
    assert mgd_loss(s, t).item() == pytest.approx(expected)
    gradcheck(lambda x: mgd_loss(x, t), s)


def test_gradient_through_the_generator():
    """Of the student's map and of every parameter, with the mask held."""
    s, t = maps(2, 2, 3, 4), maps(2, 3, 3, 4, seed=1)
    loss = seeded_loss(s, t)
    names, values = zip(*loss.named_parameters())

    def function(x, *parameters):
        torch.manual_seed(0)
        arguments = one_level(x), one_level(t)
        return torch.func.functional_call(
            loss, dict(zip(names, parameters)), arguments
        )

    gradcheck(function, s, *(v.detach() for v in values))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    s, t = (maps(2, 3, 6, 5, seed=i).to(dtype) for i in (0, 1))
    s.requires_grad_()
    value = mgd_loss(s, t)
    value.backward()
    exact = (s.detach().double() - t.double()).square().sum() / 2
    assert value.dtype == torch.float32 and s.grad.dtype == dtype
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    torch.testing.assert_close(s.grad, s.detach() - t)


@pytest.mark.parametrize('shape', [(0, 3, 4, 4), (2, 3, 0, 4)])
def test_nothing_to_compare(shape):
    s = torch.ones(shape, requires_grad=True)
    value = mgd_loss(s, torch.zeros(shape))
    value.backward()
    assert value.item() == 0
    assert random_mask(s, 0.5).shape == (shape[0], 1, *shape[2:])


def test_mask():
    """The part that is kept, the same for all channels, each time another."""
    torch.manual_seed(0)
    x = torch.zeros(4, 3, 50, 50)
    first, second = random_mask(x, 0.65), random_mask(x, 0.65)
    assert first.shape == (4, 1, 50, 50)
    assert first.float().mean().item() == pytest.approx(0.35, abs=0.02)
    assert not torch.equal(first, second)
    assert random_mask(x, 0).all()


def test_levels():
    """A generator a level, adapters where channels differ, masked places."""
    s = features((3, 8), (5, 4), pooled=0)
    t = features((5, 8), (5, 4), pooled=0, seed=5)
    loss = MGDLoss(levels=(0, 1), loss_weight=2.0, mask_ratio=0.5)
    loss.build(s, t)
    assert loss.adapters[0].weight.shape == (5, 3, 1, 1)
    assert isinstance(loss.adapters[1], nn.Identity)
    kept = []
    for generate in loss.generators:
        generate.register_forward_pre_hook(lambda m, x: kept.append(x[0]))
    value = loss(s, t)
    expected = sum(
        mgd_loss(generate(masked), target)
        for generate, masked, target in zip(loss.generators, kept[:], t.stages)
    )
    torch.testing.assert_close(value, 2 * expected)
    masked = (kept[0] == 0).all(1)
    assert 0.2 < masked.float().mean() < 0.8
    adapted = loss.adapters[0](s.stages[0]) * ~masked[:, None]
    torch.testing.assert_close(kept[0], adapted)
    value.backward()
    assert all(p.grad.any() for p in loss.parameters())


def test_what_cannot_be_compared():
    s, t = features((3, 8), pooled=0), features((5, 4), pooled=0)
    with pytest.raises(ValueError, match=r'MGDLoss: level 0 is \(8, 8\)'):
        MGDLoss(levels=(0,)).build(s, t)
    with pytest.raises(ValueError, match='must have one shape'):
        mgd_loss(s.stages[0], t.stages[0])
    for ratio in (-0.1, 1.0):
        with pytest.raises(ValueError, match='mask_ratio'):
            MGDLoss(mask_ratio=ratio)
