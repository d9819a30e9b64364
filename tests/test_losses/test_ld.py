"""LD: loops, published regions, gradients, edges."""

import math

import pytest
import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmdet_rankkd.losses import LDLoss, ld_loss
from mmdet_rankkd.losses.dense.ld import valuable_region
from mmdet_rankkd.structures import BoxPair, DistillBatch, LogitPair

from .maps import gradcheck, maps

BOXES = torch.tensor(
    [[4.0, 6, 40, 50], [30, 20, 60, 60], [10, 8, 120, 90], [70, 40, 86, 52]]
)
# Number, sum and sum of squares of the overlaps of the valuable region, and
# number by level, by get_vlr_region of mmdet/core/bbox/assigners/
# atss_assigner.py of HikariTJU/LD at 4287990 with the objects above and the
# anchors of `anchors()`.
PUBLISHED = (183, 39.93332963436842, 10.441843777150618, [135, 46, 2, 0, 0])


def anchors():
    """Those of GFL for an image of 128 x 96."""
    generator = AnchorGenerator(
        strides=[8, 16, 32, 64, 128],
        ratios=[1.0],
        octave_base_scale=8,
        scales_per_octave=1,
    )
    sizes = [(12, 16), (6, 8), (3, 4), (2, 2), (1, 1)]
    return generator.grid_priors(sizes, device='cpu')


def loop(s, t, temperature):
    """The loss of one box, side by side and bin by bin, in float64."""
    bins, total = len(s) // 4, 0.0
    for side in range(4):
        parts = []
        for x in (s, t):
            z = [math.exp(v / temperature) for v in x[side * bins :][:bins]]
            parts.append([v / sum(z) for v in z])
        total += sum(q * math.log(q / p) for p, q in zip(*parts)) / bins
    return total * temperature**2 / 4


@pytest.mark.parametrize('temperature', [1.0, 10.0])
def test_loop(temperature):
    s, t = maps(5, 28), maps(5, 28, seed=1)
    expected = [
        loop(a, b, temperature) for a, b in zip(s.tolist(), t.tolist())
    ]
    settings = dict(temperature=temperature)
    rows = ld_loss(s, t, reduction='none', **settings)
    assert rows.tolist() == pytest.approx(expected)
    weight = torch.arange(5.0).double()
    found = ld_loss(s, t, weight=weight, avg_factor=3.0, **settings)
    total = sum(w * x for w, x in zip(range(5), expected))
    assert found.item() == pytest.approx(total / 3)
    gradcheck(lambda x: ld_loss(x, t, weight=weight, **settings), s)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    s, t = (maps(6, 68, seed=i).to(dtype) for i in (0, 1))
    x, twin = s.clone().requires_grad_(), s.double().requires_grad_()
    value, exact = ld_loss(x, t), ld_loss(twin, t.double())
    value.backward()
    exact.backward()
    assert value.dtype == torch.float32 and x.grad.dtype == dtype
    assert value.item() == pytest.approx(exact.item(), rel=1e-4)
    error = (x.grad.double() - twin.grad).abs().max()
    assert error <= 2 * torch.finfo(dtype).eps * twin.grad.abs().max()


def test_edges():
    for shape in ((0, 28), (3, 4)):
        x = torch.ones(shape, requires_grad=True)
        value = ld_loss(x, torch.zeros(shape))
        value.backward()
        assert value.item() == 0 and not x.grad.any()
    s = torch.ones(2, 28)
    assert not ld_loss(s * math.inf, s).isfinite()
    t = torch.zeros(2, 28, requires_grad=True)
    ld_loss(s.requires_grad_(), t).backward()
    assert t.grad is None
    with pytest.raises(ValueError, match='that four sides share, got 6'):
        ld_loss(torch.zeros(2, 6), torch.zeros(2, 6))
    with pytest.raises(ValueError, match='temperature must be positive'):
        ld_loss(s, s, temperature=0)
    for settings in (dict(temperature=-1), dict(valuable_weight=-1)):
        with pytest.raises(ValueError, match='LDLoss needs a positive'):
            LDLoss(**settings)
    for settings in (dict(margin=2), dict(topk=0)):
        with pytest.raises(ValueError, match='LDLoss needs a margin'):
            LDLoss(**settings)


def test_published_region():
    found = valuable_region(anchors(), BOXES, slip=True)
    parts = found.split([len(x) for x in anchors()])
    sums = found.sum().item(), found.square().sum().item()
    assert ((found > 0).sum(), *sums) == pytest.approx(PUBLISHED[:3])
    assert [int((x > 0).sum()) for x in parts] == PUBLISHED[3]


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(a, b):
    sides = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    both = max(sides[0], 0) * max(sides[1], 0)
    return both / (area(a) + area(b) - both)


def apart(a, b):
    """Squared distance of the centres, and squared diagonal around both."""
    centre = sum((a[i] + a[i + 2] - b[i] - b[i + 2]) ** 2 / 4 for i in (0, 1))
    around = sum(
        (max(a[i + 2], b[i + 2]) - min(a[i], b[i])) ** 2 for i in (0, 1)
    )
    return centre, around


@pytest.mark.parametrize('margin', [0.25, 0.8])
def test_region_loop(margin):
    """The paper's distance IoU, anchor by anchor."""
    levels = [x.double().tolist() for x in anchors()]
    expected = [0.0] * sum(len(x) for x in levels)
    for box in BOXES.double().tolist():
        near = []
        for level in levels:
            ranked = sorted(level, key=lambda a: apart(a, box)[0])
            near += [overlap(a, box) for a in ranked[:9]]
        mean = sum(near) / len(near)
        var = sum((x - mean) ** 2 for x in near) / (len(near) - 1)
        alpha = mean + math.sqrt(var)
        for i, anchor in enumerate(a for level in levels for a in level):
            iou = overlap(anchor, box)
            distance, around = apart(anchor, box)
            if margin * alpha <= iou - distance / around < alpha:
                expected[i] = max(expected[i], iou)
    found = valuable_region(
        [x.double() for x in anchors()], BOXES.double(), margin
    )
    assert found.tolist() == pytest.approx(expected)
    assert 0 < (found > 0).sum() < len(found)


def pair(boxes=BOXES, **changes):
    """Two images of all anchors; objects in the first alone."""
    levels = anchors()
    count = 2 * sum(len(x) for x in levels)
    generator = torch.Generator().manual_seed(2)
    fields = dict(
        student=maps(count, 28).float().requires_grad_(),
        teacher=maps(count, 28, seed=1).float(),
        priors=torch.cat([x.repeat(2, 1) for x in levels]),
        image=torch.cat(
            [torch.arange(2).repeat_interleave(len(x)) for x in levels]
        ),
        level=torch.cat(
            [torch.full((2 * len(x),), i) for i, x in enumerate(levels)]
        ),
        foreground=torch.rand(count, generator=generator) < 0.05,
        weight=torch.ones(count),
        confidence=torch.rand(count, generator=generator),
    )
    samples = []
    for objects in (boxes, boxes[:0]):
        sample = DetDataSample()
        sample.gt_instances = InstanceData(bboxes=objects)
        samples.append(sample)
    logits = LogitPair(torch.zeros(0, 3), torch.zeros(0, 3))
    found = BoxPair(**{**fields, **changes})
    return DistillBatch(logits, nn.Identity(), samples, boxes=found)


def test_regions_add_up():
    """Main by the student's confidence, valuable by a quarter of the IoU."""
    batch = pair()
    p = batch.boxes
    rows = ld_loss(p.student, p.teacher, reduction='none')
    main = (rows * p.confidence * p.foreground).sum()
    region = torch.zeros(len(rows))
    region[p.image == 0] = valuable_region(anchors(), BOXES)
    valuable = (rows * region).sum() / 4
    for weight in (0, 1, 3):
        loss = LDLoss(valuable_weight=weight, loss_weight=0.5)
        expected = 0.5 * (main + weight * valuable)
        torch.testing.assert_close(loss.distill(batch), expected)
    # Anchors outside the image are of no region, nor of a threshold.
    outside = p.priors[:, 0] > 60
    cut = pair(weight=(~outside).float())
    region = LDLoss().region(cut.boxes, cut.data_samples)
    assert not region[outside].any()
    inside = [x[x[:, 0] <= 60] for x in anchors()]
    kept = [x for x in inside if len(x)]
    expected = valuable_region(kept, BOXES)
    assert torch.equal(region[(p.image == 0) & ~outside], expected)


def test_no_objects():
    batch = pair(BOXES[:0], foreground=torch.zeros(514).bool())
    value = LDLoss().distill(batch)
    value.backward()
    assert value.item() == 0 and not batch.boxes.student.grad.any()
    none = [torch.zeros(0, 4)]
    assert valuable_region(none, BOXES).shape == (0,)
    batch.data_samples = [DetDataSample()]
    with pytest.raises(ValueError, match='ground-truth boxes of each image'):
        LDLoss().distill(batch)
    assert LDLoss(valuable_weight=0).distill(batch) == 0
    batch.boxes = None
    with pytest.raises(ValueError, match='LDLoss needs the box distrib'):
        LDLoss().distill(batch)
