"""CWD: published numbers, a loop, gradients, class maps, edges."""

import math

import pytest
import torch
from torch import nn

from mmdet_rankkd.losses import CWDLoss, cwd_loss
from mmdet_rankkd.losses.feature.cwd import class_maps
from mmdet_rankkd.recorders.dense import flatten
from mmdet_rankkd.structures import DistillBatch, FeaturePair, LogitPair

from .maps import features, gradcheck, maps, value_and_gradient

# Loss and sum of the gradient's absolute values by ChannelWiseDivergence of
# open-mmlab/mmrazor at 90c7af1f, of maps(2, 3, 6, 5) and
# maps(2, 3, 6, 5, seed=1), by temperature.
PUBLISHED = {
    1: (0.9431041547453315, 0.9928655958332506),
    4: (0.9240759617203823, 1.0737325355710725),
}


@pytest.mark.parametrize('temperature', PUBLISHED)
def test_published_numbers(temperature):
    s, t = maps(2, 3, 6, 5), maps(2, 3, 6, 5, seed=1)
    found = value_and_gradient(cwd_loss, s, t, temperature)
    assert found == pytest.approx(PUBLISHED[temperature], rel=1e-10)


def test_loop():
    s, t = maps(2, 3, 4, 5), maps(2, 3, 4, 5, seed=1)
    total = 0.0
    for b in range(2):
        for c in range(3):
            both = []
            for x in (s, t):
                values = [math.exp(v / 2) for v in x[b, c].flatten().tolist()]
                both.append([v / sum(values) for v in values])
            total += sum(q * math.log(q / p) for p, q in zip(*both))
    assert cwd_loss(s, t, 2).item() == pytest.approx(4 * total / 6)
    assert cwd_loss(t + 7, t).item() == pytest.approx(0, abs=1e-12)
    gradcheck(lambda x: cwd_loss(x, t, 2), s)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    s, t = (3 * maps(2, 3, 6, 5, seed=i) for i in (0, 1))
    s, t = s.to(dtype).requires_grad_(), t.to(dtype)
    value = cwd_loss(s, t)
    value.backward()
    twin = s.detach().double().requires_grad_()
    exact = cwd_loss(twin, t.double())
    exact.backward()
    assert value.dtype == torch.float32 and s.grad.dtype == dtype
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    torch.testing.assert_close(
        s.grad.double(), twin.grad, rtol=2 * torch.finfo(dtype).eps, atol=1e-6
    )


@pytest.mark.parametrize(
    'shape', [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 1, 1)]
)
def test_nothing_to_compare(shape):
    s = torch.ones(shape, requires_grad=True)
    value = cwd_loss(s, torch.zeros(shape))
    value.backward()
    assert value.item() == 0 and not s.grad.any()


def test_large_values():
    s, t = 1e4 * maps(2, 3, 4, 4), 1e4 * maps(2, 3, 4, 4, seed=1)
    s.requires_grad_()
    value = cwd_loss(s.float(), t.float())
    value.backward()
    assert value.isfinite() and s.grad.isfinite().all()


def test_levels():
    """All of them; adapters only where channels differ."""
    s = features((3, 8), (5, 4), pooled=0)
    t = features((5, 8), (5, 4), pooled=0, seed=5)
    loss = CWDLoss(temperature=2.0)
    assert loss.loss_weight == 10
    loss.build(s, t)
    first, second = loss.adapters
    assert first.weight.shape == (5, 3, 1, 1)
    assert isinstance(second, nn.Identity)
    expected = cwd_loss(first(s.stages[0]), t.stages[0], 2)
    expected = expected + cwd_loss(s.stages[1], t.stages[1], 2)
    torch.testing.assert_close(loss(s, t), 10 * expected)
    only = CWDLoss(levels=(-1,), loss_weight=1.0)
    only.build(s, t)
    torch.testing.assert_close(only(s, t), cwd_loss(s.stages[1], t.stages[1]))


def dense_batch(anchors, s, t, keep=slice(None)):
    """Levels of class logits as rows, beside features of the same sizes."""
    neck = features((7, 4), (7, 2), pooled=0)
    rows = [flatten(x, x[0].shape[1] // anchors)[keep] for x in (s, t)]
    return DistillBatch(
        LogitPair(*rows), nn.Identity(), features=FeaturePair(neck, neck)
    )


@pytest.mark.parametrize('anchors', [1, 3])
def test_class_maps(anchors):
    """Those of the head, level by level, with the student's gradient."""
    s, t = ([maps(2, 6, n, n, seed=i + n) for n in (4, 2)] for i in (0, 50))
    s = [x.requires_grad_() for x in s]
    batch = dense_batch(anchors, s, t)
    sizes = [x.shape for x in batch.features.student.stages]
    for found, level in zip(class_maps(batch.logits.student, sizes), s):
        assert torch.equal(found, level)
    loss = CWDLoss(maps='classes')
    loss.build(*batch.features)
    assert not list(loss.parameters()) and loss.loss_weight == 5
    value = loss.distill(batch)
    expected = 5 * sum(cwd_loss(a, b) for a, b in zip(s, t))
    torch.testing.assert_close(value, expected)
    grads = torch.autograd.grad(value, s)
    for found, twin in zip(grads, torch.autograd.grad(expected, s)):
        torch.testing.assert_close(found, twin)


def test_rows_that_are_no_maps():
    s, t = [maps(2, 6, 4, 4), maps(2, 6, 2, 2)], [maps(2, 6, 4, 4)] * 2
    batch = dense_batch(1, s, s, slice(0, 33))
    loss = CWDLoss(maps='classes')
    loss.build(*batch.features)
    with pytest.raises(ValueError, match='33 rows for 40 places'):
        loss.distill(batch)
    with pytest.raises(ValueError, match='must have one shape'):
        cwd_loss(s[1], t[1])


def test_settings():
    with pytest.raises(ValueError, match='maps must be one of'):
        CWDLoss(maps='logits')
    with pytest.raises(ValueError, match='temperature must be positive'):
        CWDLoss(temperature=0)
    with pytest.raises(ValueError, match=r'level 0 is \(8, 8\)'):
        CWDLoss().build(features((3, 8)), features((3, 4)))
    with pytest.raises(ValueError, match='the teacher has 1 feature maps'):
        CWDLoss().build(features((3, 8), (3, 4)), features((3, 8)))
