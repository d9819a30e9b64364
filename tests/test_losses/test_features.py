"""FitNet, AT, ReviewKD and OFD: loops in float64, gradients, edges."""

import math

import pytest
import torch
from scipy import integrate, stats
from torch import nn

from mmdet_rankkd.losses import (
    ATLoss,
    FGFILoss,
    FitNetLoss,
    OFDLoss,
    ReviewKDLoss,
    at_loss,
    fgfi_loss,
    fitnet_loss,
    hcl_loss,
    ofd_loss,
)
from mmdet_rankkd.losses.feature.fitnet import regressor
from mmdet_rankkd.losses.feature.ofd import margin_of
from mmdet_rankkd.losses.feature.review_kd import ABF
from mmdet_rankkd.structures import Features

from .maps import features, gradcheck, maps


def test_fitnet_loss():
    s, t = maps(2, 3, 4, 5), maps(2, 3, 4, 5, seed=1)
    differences = [(a - b) ** 2 for a, b in zip(s.flatten(), t.flatten())]
    expected = sum(differences) / len(differences)
    assert fitnet_loss(s, t).item() == pytest.approx(expected.item())
    gradcheck(lambda x: fitnet_loss(x, t), s)
    assert fitnet_loss(s.half(), t.half()).dtype == torch.float32
    with pytest.raises(ValueError, match=r'\(2, 3, 4, 5\) of the student'):
        fitnet_loss(s, t[:, :2])


@pytest.mark.parametrize(
    'of_student, of_teacher, kernel',
    [(8, 8, (1, 1)), (16, 8, (3, 3)), (4, 8, (4, 4)), (8, 6, (3, 3))],
)
def test_regressor(of_student, of_teacher, kernel):
    """The teacher's shape, whatever the student's."""
    s, t = (
        torch.randn(2, 3, of_student, of_student),
        torch.randn(2, 7, of_teacher, of_teacher),
    )
    adapt = regressor(s, t)
    assert adapt(s).shape == t.shape
    assert adapt[0].kernel_size == kernel and adapt[0].bias is not None
    assert isinstance(adapt[1], nn.BatchNorm2d)
    with pytest.raises(ValueError, match='choose other levels'):
        regressor(torch.randn(1, 3, 3, 3), torch.randn(1, 3, 8, 8))


def test_at_loss():
    s, t = maps(2, 3, 4, 4), maps(2, 5, 4, 4, seed=1)
    total = 0.0
    for i in range(2):
        both = []
        for x in (s[i], t[i]):
            mean = [
                sum(x[c, h, w].item() ** 2 for c in range(len(x))) / len(x)
                for h in range(4)
                for w in range(4)
            ]
            norm = math.sqrt(sum(v * v for v in mean))
            both.append([v / norm for v in mean])
        total += sum((a - b) ** 2 for a, b in zip(*both))
    assert at_loss(s, t).item() == pytest.approx(total / 32)
    gradcheck(lambda x: at_loss(x, t), s)
    small = nn.functional.avg_pool2d(t, 2)
    half = nn.functional.avg_pool2d(s, 2)
    assert at_loss(s, small) == at_loss(half, small)
    assert at_loss(small, s) == at_loss(small, half)
    assert at_loss(s, 3 * s).item() == pytest.approx(0, abs=1e-12)


def test_at_loss_of_stages():
    """All but the stem, from the shallow end."""
    s = features((3, 8), (4, 8), (5, 4))
    t = features((3, 8), (6, 8), (7, 4), (8, 2), seed=5)
    loss = ATLoss(loss_weight=2.0)
    loss.build(s, t)
    expected = sum(at_loss(s.stages[i], t.stages[i]) for i in (1, 2))
    torch.testing.assert_close(loss(s, t), 2 * expected)
    torch.testing.assert_close(
        ATLoss(levels=(2,), loss_weight=1.0)(s, t),
        at_loss(s.stages[2], t.stages[2]),
    )


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 8])
def test_hcl_loss(size):
    s, t = maps(2, 3, size, size), maps(2, 3, size, size, seed=1)
    total, weight, norm = ((s - t) ** 2).mean().item(), 1.0, 1.0
    for grid in (4, 2, 1):
        if grid < size:
            weight /= 2
            norm += weight
            a, b = (nn.functional.adaptive_avg_pool2d(x, grid) for x in (s, t))
            total += weight * ((a - b) ** 2).mean().item()
    assert hcl_loss(s, t).item() == pytest.approx(total / norm)
    gradcheck(lambda x: hcl_loss(x, t), s)


def test_abf():
    """What it computes, step by step."""
    torch.manual_seed(0)
    fusion = ABF(3, 4, 6, True)
    x, deeper = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4)
    out, residual = fusion(x, deeper, (16, 16))
    y = fusion.conv1(x)
    up = deeper.repeat_interleave(2, 2).repeat_interleave(2, 3)
    gates = fusion.gate(torch.cat([y, up], 1)).sigmoid()
    y = y * gates[:, 0, None] + up * gates[:, 1, None]
    y = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(residual, y)
    torch.testing.assert_close(out, fusion.conv2(y))
    assert out.shape == (2, 6, 16, 16)
    assert fusion.conv1[0].bias is None and fusion.gate.bias is not None


def test_review_kd_levels():
    """Pooled and stages, deep first, without the teacher's stem."""
    s = features((3, 8), (4, 8), (5, 4), pooled=5)
    t = features((6, 8), (7, 8), (8, 4), pooled=9, seed=5)
    loss = ReviewKDLoss()
    loss.build(s, t)
    shapes = [
        (f.conv1[0].in_channels, f.conv2[0].out_channels) for f in loss.fusions
    ]
    assert shapes == [(5, 9), (5, 8), (4, 7)]
    assert all(f.conv1[0].out_channels == 5 for f in loss.fusions)
    assert loss.fusions[0].gate is None and loss.fusions[1].gate is not None
    value = loss(s, t)
    value.backward()
    assert value.item() > 0
    for name, parameter in loss.named_parameters():
        assert parameter.grad is not None, name
    # A net without a stem, and one with a level more.
    shallow = features((4, 8), (5, 4), pooled=5)
    longer = features((2, 16), (3, 8), (4, 8), (5, 4), pooled=5)
    for other in (shallow, longer):
        loss = ReviewKDLoss()
        loss.build(other, t)
        assert len(loss.fusions) == 3
        assert loss(other, t).isfinite()


def test_margin():
    """The mean of the negative part, by integration."""
    norm = nn.BatchNorm2d(5)
    norm.weight.data = torch.tensor([1.0, -2.0, 0.5, 1.0, 1.0])
    norm.bias.data = torch.tensor([0.0, 1.0, -1.0, 3.0, 3.2])
    found = margin_of(norm)
    for i in range(4):
        s, m = abs(norm.weight[i].item()), norm.bias[i].item()
        mass = stats.norm.cdf(0, m, s)
        mean, _ = integrate.quad(
            lambda x, m=m, s=s: x * stats.norm.pdf(x, m, s), -20, 0
        )
        assert found[i].item() == pytest.approx(mean / mass, rel=1e-5)
    # Hardly ever negative: three standard deviations below zero.
    assert found[4].item() == -3
    assert (found <= 0).all()


def test_ofd_loss():
    s, t = maps(2, 3, 4, 4), maps(2, 3, 4, 4, seed=1)
    margin = torch.tensor([-0.5, -1.0, -0.1], dtype=torch.float64)
    total = 0.0
    for b in range(2):
        for c in range(3):
            m = margin[c].item()
            pairs = zip(s[b, c].flatten().tolist(), t[b, c].flatten().tolist())
            for x, y in pairs:
                if y > 0 or m < y <= 0 and x > y:
                    total += (x - y) ** 2
                elif y <= m and x > m:
                    total += (x - m) ** 2
    assert ofd_loss(s, t, margin).item() == pytest.approx(total / 2)
    gradcheck(lambda x: ofd_loss(x, t, margin), s)


class Teacher(nn.Module):
    def __init__(self, norms):
        super().__init__()
        self.backbone = nn.Identity()
        self.backbone.last_norms = lambda: norms


def test_ofd_of_stages():
    """From the deep end, halved stage by stage, pooled to the student's."""
    s = features((3, 8), (4, 8), (5, 2))
    t = features((3, 8), (6, 8), (7, 8), (8, 4), seed=5)
    loss = OFDLoss(loss_weight=1.0)
    loss.build(s, t)
    loss.eval()
    norms = [nn.BatchNorm2d(c) for c in (6, 7, 8)]
    loss.teacher_is_ready(Teacher(norms))
    deep = nn.functional.adaptive_avg_pool2d(t.preacts[3], 2)
    expected = ofd_loss(
        loss.connectors[1](s.preacts[2]), deep, margin_of(norms[2])
    ) + 0.5 * ofd_loss(
        loss.connectors[0](s.preacts[1]), t.preacts[2], margin_of(norms[1])
    )
    torch.testing.assert_close(loss(s, t), expected)
    with pytest.raises(TypeError, match='names 1 for 2'):
        loss.teacher_is_ready(Teacher(norms[:1]))
    with pytest.raises(TypeError, match='OFDLoss needs a teacher'):
        loss.teacher_is_ready(nn.ModuleDict(dict(backbone=nn.Identity())))


def test_fgfi_loss():
    s = [maps(2, 3, 4, 4), maps(2, 3, 2, 2)]
    t = [maps(2, 3, 4, 4, seed=1), maps(2, 3, 2, 2, seed=2)]
    masks = [maps(2, 4, 4, seed=3) > 0.5, maps(2, 2, 2, seed=4) > 0.5]
    total, count = 0.0, 0
    for a, b, mask in zip(s, t, masks):
        for i, y, x in mask.nonzero().tolist():
            count += 1
            total += ((a[i, :, y, x] - b[i, :, y, x]) ** 2).sum().item()
    assert count > 3
    assert fgfi_loss(s, t, masks).item() == pytest.approx(total / 2 / count)
    gradcheck(lambda x: fgfi_loss([x, s[1]], t, masks), s[0])
    x = s[0].clone().requires_grad_()
    nothing = fgfi_loss([x], t[:1], [torch.zeros(2, 4, 4).bool()])
    nothing.backward()
    assert nothing.item() == 0 and x.grad.abs().sum() == 0


def test_fgfi_of_levels():
    s, t = (features((3, 8), (4, 4), pooled=0, seed=i) for i in (0, 5))
    loss = FGFILoss(levels=(1,), loss_weight=2.0)
    loss.build(s, t)
    conv = loss.adapters[0][0]
    assert conv.weight.abs().max() < 1e-3 and conv.bias.abs().sum() == 0
    masks = [None, torch.ones(2, 4, 4).bool()]
    adapted = loss.adapters[0](s.stages[1])
    expected = 2 * (adapted - t.stages[1]).square().sum() / (2 * 32)
    torch.testing.assert_close(loss(s, t, masks), expected)
    with pytest.raises(ValueError, match='needs the masks'):
        loss(s, t)
    with pytest.raises(ValueError, match='mask_factor'):
        FGFILoss(mask_factor=1.5)
    with pytest.raises(ValueError, match='level 0 is'):
        FGFILoss(levels=(0,)).build(s, features((3, 4), pooled=0))


@pytest.mark.parametrize('kind', [FitNetLoss, ATLoss, OFDLoss, ReviewKDLoss])
def test_tokens_are_refused(kind):
    tokens = Features(
        [torch.randn(2, 9, 4)] * 3,
        [torch.randn(2, 9, 4)] * 3,
        torch.randn(2, 4),
    )
    with pytest.raises(ValueError, match='compares maps'):
        kind().build(tokens, features((3, 8), (4, 8), (5, 4)))


def test_levels_that_are_not_there():
    with pytest.raises(ValueError, match='has 2 feature maps'):
        FitNetLoss().build(features((3, 8), (4, 4)), features((3, 8), (4, 4)))
