"""Rows and columns that a loss chooses for itself."""

from dataclasses import replace

import pytest
import torch

from mmdet_rankkd.losses import (
    DISTLoss,
    DKDLoss,
    KendallRankLoss,
    KLDivLoss,
    kendall_rank_loss,
    kl_div_loss,
)
from mmdet_rankkd.losses.logit.choice import choose
from mmdet_rankkd.structures import DistillBatch, LogitPair, logit_pair

from ..setups import (
    SETUPS,
    batch_of,
    build_model,
    distiller_config,
    save_teacher,
)

KD = dict(type='mmdet_rankkd.KLDivLoss')
RANK = dict(type='mmdet_rankkd.KendallRankLoss')


def make_pair(rows=12, classes=5, stages=None, **settings):
    """Logits of boxes, the last column background, four of them objects."""
    torch.manual_seed(0)
    labels = torch.full((rows,), classes)
    labels[::3] = torch.arange(len(labels[::3])) % classes
    own_weight = torch.ones(rows)
    own_weight[1:2] = 0
    pair = LogitPair(
        2 * torch.randn(rows, classes + 1).requires_grad_(),
        2 * torch.randn(rows, classes + 1),
        labels,
        own_weight,
        float(rows - 1),
        foreground=labels < classes,
        own_weight=own_weight,
        background=True,
    )
    if stages is not None:
        pair.stage = torch.arange(rows) % len(stages)
        pair.stage_weights = stages
    return replace(pair, **settings)


def by_loops(pair, rows, background, function=kl_div_loss):
    """The loss row by row, as the documentation has it."""
    total = 0.0
    for stage, stage_weight in enumerate(pair.stage_weights):
        part, divisor = 0.0, 0.0
        for n in range(len(pair.teacher)):
            if pair.stage is not None and pair.stage[n] != stage:
                continue
            weight = 1.0
            if pair.own_weight is not None:
                weight = pair.own_weight[n].item()
            if rows == 'foreground' and not pair.foreground[n]:
                continue
            student, teacher = pair.student[n], pair.teacher[n]
            amount = float(weight > 0)
            if rows == 'confidence':
                scores = (
                    teacher.softmax(0)[:-1]
                    if pair.background
                    else teacher.sigmoid()
                )
                weight *= scores.max().item()
                amount = weight
            if background is False and pair.background:
                student, teacher = student[:-1], teacher[:-1]
            if rows == 'per_object':
                amount = float(pair.foreground[n])
            part += weight * function(student[None], teacher[None])
            divisor += amount
        if rows == 'per_object':
            divisor = max(divisor, 1.0)
        total += stage_weight * part / divisor
    return total


ROWS = ['all', 'foreground', 'confidence', 'per_object']


@pytest.mark.parametrize('rows', ROWS)
@pytest.mark.parametrize('background', [None, True, False])
@pytest.mark.parametrize('stages', [None, (1, 0.25)])
@pytest.mark.parametrize(
    'kind, function',
    [(KLDivLoss, kl_div_loss), (KendallRankLoss, kendall_rank_loss)],
)
def test_against_loops(rows, background, stages, kind, function):
    pair = make_pair(stages=stages)
    loss = kind(rows=rows, background=background)
    value = loss.distill(DistillBatch(pair, torch.nn.Identity()))
    expected = by_loops(pair, rows, background, function)
    torch.testing.assert_close(value, expected)
    gradients = [
        torch.autograd.grad(x, pair.student)[0] for x in (value, expected)
    ]
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()


def test_of_a_sigmoid_head():
    pair = make_pair(background=False, own_weight=None)
    for rows in ROWS:
        value = KLDivLoss(rows=rows).distill(DistillBatch(pair, None))
        torch.testing.assert_close(value, by_loops(pair, rows, None))
    loss = KLDivLoss(background=True)
    with pytest.raises(ValueError, match='KLDivLoss has background=True'):
        loss.distill(DistillBatch(pair, None))


def test_nothing_chosen_is_the_recorders_choice():
    pair = make_pair()
    assert choose(pair, None, None, 'x') is pair
    assert choose(pair, None, True, 'x') is pair
    fewer = choose(pair, None, False, 'x')
    assert fewer.weight is pair.weight and fewer.avg_factor == 11
    assert fewer.student.shape == (12, 5) and not fewer.background


@pytest.mark.parametrize('stages', [None, (1, 0.5)])
def test_no_row_at_all(stages):
    """Zero, attached to the graph, with a finite gradient."""
    pair = make_pair(stages=stages)
    pair = replace(pair, foreground=torch.zeros(12).bool())
    value = KLDivLoss(rows='foreground').distill(DistillBatch(pair, None))
    assert value == 0
    (gradient,) = torch.autograd.grad(value, pair.student)
    assert not gradient.any()
    # Rows of no object are divided by one.
    value = KLDivLoss(rows='per_object').distill(DistillBatch(pair, None))
    assert value.isfinite() and value > 0
    empty = make_pair(rows=0)
    for rows in ROWS:
        value = KLDivLoss(rows=rows).distill(DistillBatch(empty, None))
        assert value == 0 and value.requires_grad


def test_the_divisor_is_the_mean_over_processes(monkeypatch):
    pair = make_pair()
    alone = choose(pair, 'foreground', None, 'x').avg_factor
    # The other process has no object.
    monkeypatch.setattr(logit_pair, 'all_reduce', lambda x, _: x.div_(2))
    assert choose(pair, 'foreground', None, 'x').avg_factor == alone / 2


def test_labels_go_with_the_rows():
    """Targets of foreground rows need no background column."""
    pair = make_pair()
    loss = DKDLoss(rows='foreground', background=False)
    assert loss.distill(DistillBatch(pair, None)) > 0
    loss = DKDLoss(rows='all', background=False)
    with pytest.raises(ValueError, match='need its column'):
        loss.distill(DistillBatch(pair, None))


def test_bad_choices():
    with pytest.raises(ValueError, match='rows must be one of'):
        KLDivLoss(rows='positives')
    with pytest.raises(ValueError, match='background must be'):
        KLDivLoss(background='no')
    with pytest.raises(ValueError, match='no rows to choose from'):
        DISTLoss(rows='foreground')


@pytest.mark.parametrize(
    'name', ['faster-rcnn', 'cascade-rcnn', 'retinanet', 'detr', 'classifier']
)
def test_each_loss_has_its_own_rows(name, tmp_path):
    """KD on all rows and ranking on those of objects, in one step."""
    setup = SETUPS[name]()
    save_teacher(setup, tmp_path / 'teacher.pth')
    choice = dict(rows='foreground', background=False)
    losses = [dict(KD, rows='all'), dict(RANK, **choice)]
    config = distiller_config(setup, tmp_path / 'teacher.pth', losses)
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    model.train()
    pairs = []
    replay = model.logits.replay

    def keep(*args):
        pairs.append(replay(*args))
        return pairs[-1]

    model.logits.replay = keep
    data = batch_of(setup)
    data.pop('strong_inputs', None)
    result = model(**model.data_preprocessor(data, True), mode='loss')
    (pair,) = pairs
    for loss, arguments, function in (
        ('loss_kd', ('all', None), kl_div_loss),
        ('loss_rank', ('foreground', False), kendall_rank_loss),
    ):
        chosen = choose(pair, *arguments, 'x')
        expected = function(
            chosen.student,
            chosen.teacher,
            weight=chosen.weight,
            avg_factor=chosen.avg_factor,
        )
        torch.testing.assert_close(result[loss], expected)
    if pair.foreground is not None:
        # A teacher with random weights is sure of none of DETR's queries.
        assert pair.foreground.any() or name == 'detr'
        rows = len(choose(pair, 'foreground', False, 'x').student)
        assert rows == pair.foreground.sum()
    (gradient,) = torch.autograd.grad(
        result['loss_rank'],
        next(p for p in model.student.parameters() if p.requires_grad),
    )
    assert gradient.any() or pair.foreground is not None


def test_the_recorders_options_are_the_same_choice(tmp_path):
    """RoILogits(positives_only=True, background=False), for all losses."""
    values = []
    for of_recorder in (True, False):
        setup = SETUPS['faster-rcnn']()
        save_teacher(setup, tmp_path / 'teacher.pth')
        loss = dict(KD)
        if of_recorder:
            setup.logits.update(positives_only=True, background=False)
        else:
            loss.update(rows='foreground', background=False)
        config = distiller_config(setup, tmp_path / 'teacher.pth', [loss])
        torch.manual_seed(0)
        model = build_model(config)
        model.init_weights()
        torch.manual_seed(1)
        data = model.train().data_preprocessor(batch_of(setup), True)
        values.append(model(**data, mode='loss')['loss_kd'])
    torch.testing.assert_close(*values)
