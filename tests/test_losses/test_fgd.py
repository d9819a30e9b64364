"""FGD: published numbers, loops, gradients, masks, edges."""

import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from torch import nn

from mmdet_rankkd.losses import FGDLoss, fgd_focal_loss, fgd_global_loss
from mmdet_rankkd.losses.feature.fgd import (
    ContextBlock,
    attention,
    object_mask,
    object_masks,
)
from mmdet_rankkd.structures import (
    DistillBatch,
    FeaturePair,
    Features,
    LogitPair,
)

from .maps import features, gradcheck, maps

SQUARES = ((64, 64), (64, 64))
BOXES = [[[4.0, 6, 40, 50], [30, 20, 60, 60], [8, 8, 20, 12]], []]
# Loss and sums of the absolute values of the gradients of the student's map
# and of all parameters by mmdet/distillation/losses/fgd.py of yzd-v/FGD at
# c03a6cf with temp=0.5, of maps(2, C, 8, 8) and maps(2, 4, 8, 8, seed=1),
# with the boxes above and maps(..., seed=10 + i) / 2 as parameter i: C;
# alpha, beta, gamma, lambda; img_shape of the images; numbers.
PUBLISHED = [
    (4, (1, 0, 0, 0), SQUARES, (10.803466993838008, 10.12345318170524, 0)),
    (4, (0, 1, 0, 0), SQUARES, (7.1970285935851, 7.91276904274055, 0)),
    (4, (0, 0, 1, 0), SQUARES, (51.23541376930037, 107.43143881834644, 0)),
    (
        4,
        (0, 0, 0, 1),
        SQUARES,
        (779.0628416069766, 722.4367385590119, 1370.935384272107),
    ),
    (
        3,
        (1e-3, 5e-4, 5e-4, 5e-6),
        SQUARES,
        (0.04964735307589804, 0.04489181733883058, 0.0735598986677699),
    ),
    (
        4,
        (1, 1, 0, 0),
        ((64, 56), (48, 64)),
        (18.418587089126564, 18.255127251177438, 0),
    ),
]


def one_level(map_):
    """Features of one map."""
    return Features([map_], [map_], None)


def samples(sizes, boxes=BOXES, batch_shape=(64, 64)):
    """Images of these sizes in a padded batch."""
    found = []
    for size, b in zip(sizes, boxes):
        sample = DetDataSample(
            metainfo=dict(img_shape=size, batch_input_shape=batch_shape)
        )
        sample.gt_instances = InstanceData(bboxes=torch.tensor(b).view(-1, 4))
        found.append(sample)
    return found


def batch_of(student, teacher, data_samples):
    """What a distiller hands over."""
    return DistillBatch(
        LogitPair(torch.zeros(0, 3), torch.zeros(0, 3)),
        nn.Identity(),
        data_samples,
        FeaturePair(student, teacher),
    )


def seeded_loss(student, teacher, **settings):
    """The loss of one level with seeded weights in float64."""
    loss = FGDLoss(levels=(0,), **settings)
    loss.build(student, teacher)
    loss.double()
    contexts = [loss.contexts[who][0] for who in ('student', 'teacher')]
    published = [
        *loss.adapters,
        *(c.mask for c in contexts),
        *(c.transform for c in contexts),
    ]
    parameters = [p for module in published for p in module.parameters()]
    assert len(parameters) == len(list(loss.parameters()))
    for i, parameter in enumerate(parameters):
        parameter.data = maps(*parameter.shape, seed=10 + i) / 2
    return loss


@pytest.mark.parametrize('channels, weights, sizes, expected', PUBLISHED)
def test_published_numbers(channels, weights, sizes, expected):
    s, t = maps(2, channels, 8, 8).requires_grad_(), maps(2, 4, 8, 8, seed=1)
    pair = one_level(s), one_level(t)
    names = ('foreground', 'background', 'attention', 'global')
    settings = {f'{n}_weight': w for n, w in zip(names, weights)}
    loss = seeded_loss(*pair, reference_slip=True, **settings)
    value = loss.distill(batch_of(*pair, samples(sizes)))
    value.backward()
    grads = [p.grad.abs().sum() for p in loss.parameters()]
    found = value.item(), s.grad.abs().sum().item(), sum(grads).item()
    # Masks are in float32 here.
    assert found == pytest.approx(expected, rel=1e-6)
    if sizes == SQUARES:
        loss.reference_slip = False
        same = loss.distill(batch_of(*pair, samples(sizes)))
        assert same.item() == value.item()


def softmax(values, temperature):
    exps = [math.exp(v / temperature) for v in values]
    return [len(exps) * e / sum(exps) for e in exps]


def test_focal_loop():
    s, t = maps(2, 3, 4, 5), maps(2, 3, 4, 5, seed=1)
    mask = maps(2, 4, 5, seed=2).relu()
    alpha, beta, gamma, total = 0.3, 0.2, 0.1, 0.0
    for b in range(2):
        both = []
        for x in (s[b].flatten(1), t[b].flatten(1)):
            size = x.abs()
            places = [sum(size[:, i].tolist()) / 3 for i in range(20)]
            channels = [sum(size[c].tolist()) / 20 for c in range(3)]
            both.append((softmax(places, 0.7), softmax(channels, 0.7)))
        (a, c), (places, channels) = both
        total += gamma * sum(abs(x - y) for x, y in zip(a, places))
        total += gamma * sum(abs(x - y) for x, y in zip(c, channels))
        m = mask[b].flatten().tolist()
        for i in range(20):
            weight = alpha * m[i] if m[i] else beta / m.count(0)
            for k in range(3):
                square = (s[b, k].flatten()[i] - t[b, k].flatten()[i]) ** 2
                total += weight * places[i] * channels[k] * square.item()
    found = fgd_focal_loss(s, t, mask, 0.7, alpha, beta, gamma)
    assert found.item() == pytest.approx(total / 2)
    gradcheck(lambda x: fgd_focal_loss(x, t, mask, 0.7, 1, 1, 1), s)
    places, channels = attention(t, 0.5)
    torch.testing.assert_close(places.mean((1, 2)), torch.ones(2).double())
    torch.testing.assert_close(channels.mean(1), torch.ones(2).double())


def test_global_loop():
    """The context of a block by loops, and the gradient of the whole."""
    torch.manual_seed(0)
    block = ContextBlock(4).double()
    x, y = maps(2, 4, 2, 3), maps(2, 4, 2, 3, seed=1)
    torch.testing.assert_close(block(x), x)  # adds nothing at first
    block.transform[3].weight.data.normal_()
    found = block(x)
    for b in range(2):
        flat = x[b].flatten(1)
        scores = [
            ((flat[:, i] * block.mask.weight[0, :, 0, 0]).sum()).exp()
            for i in range(6)
        ]
        mean = sum(flat[:, i] * scores[i] for i in range(6)) / sum(scores)
        first, norm, _, last = block.transform
        hidden = first.weight[:, :, 0, 0] @ mean + first.bias
        apart = hidden - hidden.mean()
        hidden = apart / (apart.square().mean() + norm.eps).sqrt()
        added = last.weight[:, :, 0, 0] @ hidden.relu() + last.bias
        torch.testing.assert_close(found[b], x[b] + added[:, None, None])
    pairs = zip(x.flatten().tolist(), y.flatten().tolist())
    expected = sum((a - b) ** 2 for a, b in pairs) / 2
    assert fgd_global_loss(x, y).item() == pytest.approx(expected)
    gradcheck(lambda a, b: fgd_global_loss(block(a), b), x, y)


def test_gradient_of_the_whole():
    """Of the student's map and of every parameter, none of the teacher's."""
    s, t = maps(1, 2, 3, 3), maps(1, 4, 3, 3, seed=1).requires_grad_()
    loss = seeded_loss(one_level(s), one_level(t), global_weight=1e-2)
    names, values = zip(*loss.named_parameters())
    mask = [torch.tensor([[[0, 0.5, 0], [1, 0, 0], [0, 0, 0]]]).double()]

    def function(x, *parameters):
        arguments = one_level(x), one_level(t), mask
        return torch.func.functional_call(
            loss, dict(zip(names, parameters)), arguments
        )

    gradcheck(function, s, *(v.detach() for v in values))
    loss(one_level(s), one_level(t), mask).backward()
    assert t.grad is None


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    s, t = (maps(2, 3, 6, 5, seed=i).to(dtype) for i in (0, 1))
    mask = maps(2, 6, 5, seed=2).relu().float()
    for function in (lambda x, y: fgd_focal_loss(x, y, mask), fgd_global_loss):
        x = s.clone().requires_grad_()
        value = function(x, t)
        value.backward()
        twin = s.double().requires_grad_()
        exact = function(twin, t.double())
        exact.backward()
        assert value.dtype == torch.float32 and x.grad.dtype == dtype
        assert value.item() == pytest.approx(exact.item(), rel=1e-5)
        torch.testing.assert_close(
            x.grad.double(),
            twin.grad,
            rtol=2 * torch.finfo(dtype).eps,
            atol=1e-7,
        )


def test_mask():
    """A loop over cells: the smallest object that covers each counts."""
    boxes = [(0.5, 0.75, 5, 6.25), (3.75, 2.5, 7.5, 7.5), (1, 1, 2.5, 1.5)]
    expected = torch.zeros(8, 6)
    for x1, y1, x2, y2 in boxes:
        left, top = math.floor(x1), math.floor(y1)
        right, bottom = math.ceil(x2), math.ceil(y2)
        area = (right + 1 - left) * (bottom + 1 - top)
        for y in range(8):
            for x in range(6):
                if left <= x <= right and top <= y <= bottom:
                    expected[y, x] = max(expected[y, x], 1 / area)
    torch.testing.assert_close(
        object_mask(torch.tensor(boxes), 8, 6), expected
    )
    assert expected.max() == pytest.approx(1 / 6)
    assert not object_mask(torch.zeros(0, 4), 8, 6).any()
    outside = torch.tensor([[-9.0, -9, -5, -5], [20, 20, 30, 30]])
    assert not object_mask(outside, 8, 6).any()


def test_masks_of_padded_images():
    """On the objects by default; stretched with them as published."""
    box = [[[16.0, 16, 31, 31]]]
    sample = samples([(32, 32)], box, (64, 128))
    maps_ = [torch.zeros(1, 3, 8, 16), torch.zeros(1, 3, 4, 8)]
    right = object_masks(maps_, sample)
    assert [tuple(m.shape) for m in right] == [(1, 8, 16), (1, 4, 8)]
    on = right[0][0].nonzero()
    assert on.amin(0).tolist() == [2, 2] and on.amax(0).tolist() == [4, 4]
    slipped = object_masks(maps_, sample, True)[0][0].nonzero()
    assert slipped.amin(0).tolist() == [4, 8]
    # Boxes in the class that MMDetection has for them.
    instances = sample[0].gt_instances
    instances.bboxes = HorizontalBoxes(instances.bboxes)
    assert torch.equal(object_masks(maps_, sample)[0], right[0])


def test_levels():
    """The sum over the levels that are named."""
    s = features((3, 8), (4, 4), pooled=0)
    t = features((3, 8), (5, 4), pooled=0, seed=5)
    loss = FGDLoss(levels=(1,), loss_weight=2.0)
    loss.build(s, t)
    assert loss.adapters[0].weight.shape == (5, 4, 1, 1)
    masks = object_masks(s.stages, samples(SQUARES))
    adapted = loss.adapters[0](s.stages[1])
    expected = fgd_focal_loss(adapted, t.stages[1], masks[1])
    # The blocks add nothing at first.
    expected = expected + 5e-6 * fgd_global_loss(adapted, t.stages[1])
    value = loss.distill(batch_of(s, t, samples(SQUARES)))
    torch.testing.assert_close(value, 2 * expected)


def test_no_objects_and_no_images():
    s, t = features((3, 8), pooled=0), features((3, 8), pooled=0, seed=5)
    loss = FGDLoss(levels=(0,))
    loss.build(s, t)
    value = loss.distill(batch_of(s, t, samples(SQUARES, [[], []])))
    value.backward()
    assert value.isfinite() and value > 0
    assert all(p.grad is not None for p in loss.parameters())
    everywhere = [[[0.0, 0, 64, 64]]] * 2
    assert loss.distill(batch_of(s, t, samples(SQUARES, everywhere))) > 0
    for shape in ((0, 3, 4, 4), (2, 3, 0, 4)):
        x = torch.ones(shape, requires_grad=True)
        mask = torch.zeros(shape[0], *shape[2:])
        nothing = fgd_focal_loss(x, torch.ones(shape), mask)
        nothing = nothing + fgd_global_loss(x, torch.ones(shape))
        nothing.backward()
        assert nothing.item() == 0


def test_what_cannot_be_compared():
    s, t = features((3, 8), pooled=0), features((3, 4), pooled=0)
    loss = FGDLoss(levels=(0,))
    with pytest.raises(ValueError, match=r'FGDLoss: level 0 is \(8, 8\)'):
        loss.build(s, t)
    with pytest.raises(ValueError, match='must have one shape'):
        fgd_focal_loss(s.stages[0], t.stages[0], torch.zeros(2, 8, 8))
    loss.build(s, s)
    with pytest.raises(ValueError, match='needs the masks'):
        loss(s, s)
    for sample in (InstanceData(), DetDataSample()):
        with pytest.raises(ValueError, match='needs the ground-truth boxes'):
            loss.distill(batch_of(s, s, [sample]))
    for settings in (dict(temperature=0), dict(background_weight=-1)):
        with pytest.raises(ValueError, match='FGDLoss needs a positive'):
            FGDLoss(**settings)
