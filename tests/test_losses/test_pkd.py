"""PKD: published numbers, a loop, gradients, sizes, edges."""

import math

import pytest
import torch
from torch import nn

from mmdet_rankkd.losses import PKDLoss, pkd_loss

from .maps import features, gradcheck, maps, value_and_gradient

# Loss and sum of the gradient's absolute values by PKDLoss of
# open-mmlab/mmrazor at 90c7af1f, of maps(*student) and
# maps(*teacher, seed=1): shapes, resize_stu, value, gradient.
PUBLISHED = [
    (
        (2, 3, 6, 5),
        (2, 3, 6, 5),
        True,
        (0.9408888946634077, 0.783829440310097),
    ),
    (
        (2, 3, 6, 5),
        (2, 3, 9, 7),
        True,
        (1.1100380274572197, 0.5401381839239223),
    ),
    (
        (2, 3, 6, 5),
        (2, 3, 9, 7),
        False,
        (1.1282303522532748, 0.7662020923125213),
    ),
    (
        (2, 3, 8, 8),
        (2, 3, 4, 4),
        True,
        (0.8122368286848487, 1.5824377954823772),
    ),
]


@pytest.mark.parametrize('student, teacher, resize, expected', PUBLISHED)
def test_published_numbers(student, teacher, resize, expected):
    s, t = maps(*student), maps(*teacher, seed=1)
    found = value_and_gradient(pkd_loss, s, t, resize)
    assert found == pytest.approx(expected, rel=1e-10)


def test_correlation():
    """A loop, and one minus Pearson's r but for the count of a sample."""
    s, t = maps(2, 3, 4, 5), maps(2, 3, 4, 5, seed=1)
    total, ones = 0.0, 0.0
    for c in range(3):
        a, b = s[:, c].flatten().tolist(), t[:, c].flatten().tolist()
        n = len(a)
        parts = []
        for x in (a, b):
            mean = sum(x) / n
            std = math.sqrt(sum((v - mean) ** 2 for v in x) / (n - 1))
            parts.append([(v - mean) / (std + 1e-6) for v in x])
        total += sum((x - y) ** 2 for x, y in zip(*parts)) / (2 * 3 * n)
        r = torch.corrcoef(torch.tensor([a, b]))[0, 1].item()
        ones += (1 - r) * (n - 1) / n / 3
    assert pkd_loss(s, t).item() == pytest.approx(total, rel=1e-12)
    assert pkd_loss(s, t).item() == pytest.approx(ones, rel=1e-5)
    assert pkd_loss(3 * t + 2, t).item() == pytest.approx(0, abs=1e-9)
    assert pkd_loss(-t, t).item() == pytest.approx(2 * 39 / 40, rel=1e-5)


@pytest.mark.parametrize('size', [(4, 5), (3, 3)])
def test_gradient(size):
    s, t = maps(2, 3, 4, 5), maps(2, 3, *size, seed=1)
    gradcheck(lambda x: pkd_loss(x, t), s)
    gradcheck(lambda x: pkd_loss(x, t, False), s)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    s, t = (maps(2, 3, 6, 5, seed=i).to(dtype) for i in (0, 1))
    s.requires_grad_()
    value = pkd_loss(s, t)
    value.backward()
    twin = s.detach().double().requires_grad_()
    exact = pkd_loss(twin, t.double())
    exact.backward()
    assert value.dtype == torch.float32 and s.grad.dtype == dtype
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    torch.testing.assert_close(
        s.grad.double(), twin.grad, rtol=2 * torch.finfo(dtype).eps, atol=1e-6
    )


@pytest.mark.parametrize(
    'shape', [(0, 3, 4, 4), (2, 3, 0, 4), (1, 3, 1, 1), (2, 0, 4, 4)]
)
def test_nothing_to_correlate(shape):
    s = torch.ones(shape, requires_grad=True)
    value = pkd_loss(s, torch.ones(shape))
    value.backward()
    assert value.item() == 0 and not s.grad.any()


def test_constant_channels():
    s, t = maps(2, 2, 4, 4), maps(2, 2, 4, 4, seed=1)
    t[:, 1] = 3.0
    expected = (pkd_loss(s[:, :1], t[:, :1]) + 0.5 * 31 / 32) / 2
    assert pkd_loss(s, t).item() == pytest.approx(expected.item(), rel=1e-5)
    same = torch.ones(2, 2, 4, 4, requires_grad=True)
    pkd_loss(same, t.float()).backward()
    assert same.grad.isfinite().all()


def test_levels():
    """Adapters only where channels differ; the sum over levels."""
    s = features((3, 8), (5, 4), (5, 2), pooled=0)
    t = features((5, 8), (5, 8), (4, 2), pooled=0, seed=5)
    loss = PKDLoss(levels=(0, 1), loss_weight=2.0)
    loss.build(s, t)
    first, second = loss.adapters
    assert first.weight.shape == (5, 3, 1, 1)
    assert isinstance(second, nn.Identity)
    expected = pkd_loss(first(s.stages[0]), t.stages[0])
    expected = expected + pkd_loss(s.stages[1], t.stages[1])
    torch.testing.assert_close(loss(s, t), 2 * expected)
    loss(s, t).backward()
    assert first.weight.grad.any()
    kept = PKDLoss(levels=(1,), resize_student=False, loss_weight=1.0)
    kept.build(s, t)
    torch.testing.assert_close(
        kept(s, t), pkd_loss(s.stages[1], t.stages[1], False)
    )


def test_what_cannot_be_compared():
    s, t = features((3, 8), pooled=0), features((5, 8), pooled=0)
    with pytest.raises(ValueError, match='has 1 feature maps'):
        PKDLoss().build(s, t)
    with pytest.raises(ValueError, match='same images and channels'):
        pkd_loss(s.stages[0], t.stages[0])
