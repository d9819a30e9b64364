"""CrossKD: loops, gradients, half precision, edges."""

import math

import pytest
import torch
from mmdet.models.losses import GIoULoss, IoULoss
from torch import nn

from mmdet_rankkd.losses import (
    CrossKDLoss,
    binary_kl_div_loss,
    cross_kd_box_loss,
    cross_kd_class_loss,
    ld_loss,
)
from mmdet_rankkd.losses.dense.cross_kd import match_scale
from mmdet_rankkd.structures import (
    Crossing,
    DistillBatch,
    HeadMaps,
    LogitPair,
    Predictions,
)

from .maps import gradcheck, maps


def corners(count, seed):
    """Boxes of some size, near each other."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.rand(count, 4, generator=generator, dtype=torch.float64)
    low = 20 * parts[:, :2]
    return torch.cat([low, low + 5 + 20 * parts[:, 2:]], 1)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize('beta', [1.0, 2.0])
def test_classes_by_loops(beta):
    s, t = 3 * maps(5, 4), 3 * maps(5, 4, seed=1)
    weight = [0.0, 1.0, 0.5, 2.0, 1.0]
    total = 0.0
    for n in range(5):
        for a, b in zip(s[n].tolist(), t[n].tolist()):
            p, q = sigmoid(a), sigmoid(b)
            entropy = -q * math.log(p) - (1 - q) * math.log(1 - p)
            total += weight[n] * abs(p - q) ** beta * entropy
    weight = torch.tensor(weight).double()
    found = cross_kd_class_loss(s, t, beta=beta, weight=weight, avg_factor=3.0)
    assert found.item() == pytest.approx(total / 3)
    gradcheck(lambda x: cross_kd_class_loss(x, t, beta=beta), s)
    plain = cross_kd_class_loss(s, t, beta=0)
    torch.testing.assert_close(plain, binary_kl_div_loss(s, t))


@pytest.mark.parametrize(
    'overlap, other', [('giou', GIoULoss()), ('iou', IoULoss())]
)
def test_corners_as_mmdetection(overlap, other):
    s, t = corners(12, 0), corners(12, 1)
    t[:3] += 100  # apart
    weight = torch.rand(12).double()
    x, y = (s.clone().requires_grad_() for _ in range(2))
    found = cross_kd_box_loss(x, t, weight, 7.0, overlap)
    expected = other(y, t, weight=weight, avg_factor=7.0)
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    torch.testing.assert_close(x.grad, y.grad)
    assert x.grad.any()
    gradcheck(lambda z: cross_kd_box_loss(z, t, weight, 7.0, overlap), s)


def test_distributions():
    """The sum over the sides; by default over the sum of the weights."""
    s, t = maps(6, 28), maps(6, 28, seed=1)
    weight = torch.rand(6).double()
    rows = ld_loss(s, t, temperature=1, reduction='none') * 4 * 7
    expected = (rows * weight).sum() / weight.sum()
    found = cross_kd_box_loss(s, t, weight)
    torch.testing.assert_close(found, expected)
    gradcheck(lambda x: cross_kd_box_loss(x, t, weight), s)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    weight = torch.rand(8)
    for function, inputs in (
        (cross_kd_class_loss, (maps(8, 5), maps(8, 5, seed=1))),
        (
            lambda s, t: cross_kd_box_loss(s, t, weight),
            (maps(8, 28), maps(8, 28, seed=1)),
        ),
        (
            lambda s, t: cross_kd_box_loss(s, t, weight),
            (corners(8, 0), corners(8, 1)),
        ),
        (
            lambda s, t: match_scale(s, t).square().sum(),
            (maps(2, 3, 5, 4), maps(2, 3, 5, 4, seed=1)),
        ),
    ):
        s, t = (x.to(dtype) for x in inputs)
        x, twin = s.clone().requires_grad_(), s.double().requires_grad_()
        value, exact = function(x, t), function(twin, t.double())
        value.backward()
        exact.backward()
        assert value.dtype == torch.float32 and x.grad.dtype == dtype
        assert value.item() == pytest.approx(exact.item(), rel=1e-4)
        error = (x.grad.double() - twin.grad).abs().max()
        bound = 4 * torch.finfo(dtype).eps * twin.grad.abs().max()
        assert error <= bound + 1e-4


def test_scale_by_loops():
    s, t = maps(2, 3, 4, 5) * 3 + 1, maps(2, 3, 4, 5, seed=1) - 2
    found = match_scale(s, t)
    for c in range(3):
        a, b = s[:, c].flatten().tolist(), t[:, c].flatten().tolist()
        means = [sum(x) / len(x) for x in (a, b)]
        stds = [
            math.sqrt(sum((v - m) ** 2 for v in x) / (len(x) - 1))
            for x, m in zip((a, b), means)
        ]
        expected = [
            (v - means[0]) / (stds[0] + 1e-6) * stds[1] + means[1] for v in a
        ]
        assert found[:, c].flatten().tolist() == pytest.approx(expected)
    gradcheck(lambda x: match_scale(x, t), s)
    torch.testing.assert_close(match_scale(t, t), t, rtol=1e-5, atol=1e-5)


def test_one_place_and_none():
    """Of one value there is no deviation; of none, nothing."""
    x = torch.ones(1, 3, 1, 1, requires_grad=True)
    t = torch.full((1, 3, 1, 1), 5.0)
    found = match_scale(x, t)
    found.sum().backward()
    assert torch.equal(found.detach(), t)
    assert x.grad.isfinite().all()
    constant = torch.ones(2, 3, 4, 4, requires_grad=True)
    match_scale(constant, torch.randn(2, 3, 4, 4)).sum().backward()
    assert constant.grad.isfinite().all()
    assert match_scale(torch.ones(0, 3, 4, 4), torch.ones(0, 3, 4, 4)).shape


def test_no_rows_and_no_weight():
    for width in (4, 28):
        x = torch.ones(0, width, requires_grad=True)
        value = cross_kd_box_loss(x, torch.ones(0, width), torch.ones(0))
        value = value + cross_kd_class_loss(x, torch.ones(0, width))
        value.backward()
        assert value.item() == 0
        y = torch.ones(3, width, requires_grad=True)
        nothing = cross_kd_box_loss(y, torch.zeros(3, width), torch.zeros(3))
        nothing.backward()
        assert nothing.item() == 0 and not y.grad.any()
    with pytest.raises(ValueError, match='overlap must be one of'):
        cross_kd_box_loss(y, y, torch.ones(3), overlap='ciou')
    with pytest.raises(ValueError, match='share one shape'):
        cross_kd_box_loss(y, torch.ones(3, 4), torch.ones(3))


def test_the_parts_of_the_module():
    """Weights, the rows that count, and what is handed to the rest."""
    student = HeadMaps([maps(2, 3, 4, 4).float()], [maps(2, 3, 4, 4).float()])
    teacher = HeadMaps(
        [maps(2, 5, 4, 4, seed=1).float()], [maps(2, 5, 4, 4, seed=2).float()]
    )
    loss = CrossKDLoss(class_weight=2.0, box_weight=3.0, loss_weight=0.5)
    loss.build(student, teacher)
    assert [tuple(x.weight.shape) for x in loss.adapters] == [(5, 3, 1, 1)] * 2
    target = Predictions(maps(6, 4).float(), corners(6, 1).float())
    found = Predictions(maps(6, 4, seed=3).float(), corners(6, 0).float())
    weight = torch.tensor([1.0, 1, 0, 1, 0.5, 1])
    seen = []

    def rest(matched):
        seen.append(matched)
        return found

    batch = DistillBatch(
        LogitPair(torch.zeros(0, 3), torch.zeros(0, 3)),
        nn.Identity(),
        crossing=Crossing(
            student, teacher, rest, target, weight, torch.tensor(2.0)
        ),
    )
    classes = cross_kd_class_loss(
        found.logits, target.logits, weight=weight, avg_factor=2.0
    )
    surety = target.logits.sigmoid().amax(1) * (weight > 0)
    boxes = cross_kd_box_loss(found.boxes, target.boxes, surety, 2.0)
    expected = 0.5 * (2 * classes + 3 * boxes)
    torch.testing.assert_close(loss.distill(batch), expected)
    (matched,) = seen
    for i in (0, 1):
        adapted = loss.adapters[i](student[i][0])
        torch.testing.assert_close(
            matched[i][0], match_scale(adapted, teacher[i][0])
        )
    batch.crossing = None
    with pytest.raises(ValueError, match='CrossKDLoss needs maps inside the'):
        loss.distill(batch)
