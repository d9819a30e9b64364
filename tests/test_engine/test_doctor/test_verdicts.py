"""What measured steps mean: a case in order and one that is not, for each."""

from types import SimpleNamespace

import pytest
import torch

from mmdet_rankkd.engine.doctor import verdicts
from mmdet_rankkd.engine.doctor.step import Step
from mmdet_rankkd.losses import KLDivLoss
from mmdet_rankkd.structures import (
    DistillBatch,
    FeaturePair,
    Features,
    LogitPair,
)


@pytest.mark.parametrize(
    'same, repeats, state',
    [(True, True, 'ok'), (False, True, 'problem'), (False, False, 'note')],
)
def test_weights_0(same, repeats, state):
    steps = [Step(), Step(same=same, repeats=repeats)]
    assert verdicts.own_step(steps).state == state


def test_finite():
    assert verdicts.finite([Step(), Step()]).state == 'ok'
    found = verdicts.finite([Step(), Step(broken=['loss_kd'])])
    assert found.state == 'problem' and 'loss_kd' in found.said


@pytest.mark.parametrize(
    'unused, finds, gpus, state',
    [
        ([], False, 8, 'ok'),
        (['head.x'], True, 8, 'ok'),
        (['head.x'], False, 8, 'problem'),
        (['head.x'], False, 1, 'note'),
    ],
)
def test_unused(unused, finds, gpus, state):
    steps = [Step(unused=unused), Step(unused=[*unused, 'head.y'])]
    found = verdicts.unused(steps, finds, gpus)
    assert found.state == state and found.facts['unused'] == unused


@pytest.mark.parametrize(
    'norm, state, said',
    [
        (2.0, 'ok', 'gradient 0.5'),
        (0.01, 'problem', 'next to nothing'),
        (100.0, 'note', 'gradient 25'),
        (1e4, 'problem', 'drowns'),
        (0.0, 'problem', 'no gradient'),
    ],
)
def test_terms(norm, state, said):
    step = Step(norms=dict(student=4.0, loss_kd=norm))
    losses = dict(loss_kd=KLDivLoss(loss_weight=3.0))
    (found,) = verdicts.terms([step, step], losses)
    assert found.name == 'loss_kd' and found.state == state
    assert said in found.said
    if norm:
        # With the proposed weight it is half of the student's own.
        weight = found.facts['proposed_weight']
        assert weight / 3.0 * norm / 4.0 == pytest.approx(0.5, rel=0.25)


def batch(foreground, weight=None, features=None):
    rows = len(foreground)
    pair = LogitPair(
        torch.zeros(rows, 4),
        torch.zeros(rows, 4),
        foreground=torch.tensor(foreground, dtype=torch.bool),
        weight=None if weight is None else torch.tensor(weight),
    )
    return DistillBatch(pair, torch.nn.Module(), features=features)


@pytest.mark.parametrize(
    'foreground, weight, share, state',
    [
        ([1, 0, 0, 0], None, 0.25, 'ok'),
        ([1, 0, 0, 0], [1.0, 0, 0, 0], 1.0, 'ok'),
        ([0] * 99 + [1], None, 0.01, 'problem'),
        ([0, 0], None, 0.0, 'problem'),
    ],
)
def test_background(foreground, weight, share, state):
    found = verdicts.background([Step(batch=batch(foreground, weight))])
    assert found.state == state
    assert found.facts['weight'] == pytest.approx(1 - share)


def test_rows_without_background():
    pair = batch([1])
    pair.logits.foreground = None
    assert verdicts.background([Step(batch=pair)]).state == 'ok'


def test_compared():
    layers = [Features([torch.zeros(2, c, 8, 6)], [], None) for c in (4, 16)]
    given = batch([1, 0], features=FeaturePair(*layers))
    model = SimpleNamespace(
        logits=SimpleNamespace(
            describe=lambda: 'RoILogits', compares_logits=True
        )
    )
    found = verdicts.compared([Step(batch=given)], model)
    assert found.state == 'ok'
    assert '2 rows of 4 columns' in found.said
    assert '4x8x6 and 16x8x6' in found.said
    assert verdicts.compared([Step(batch=batch([]))], model).state == 'problem'
    assert verdicts.compared([Step()], model).state == 'problem'


def test_cost():
    seconds = dict(student=1.0, step=2.0, teacher=0.5, loss_kd=0.1)
    steps = [Step(seconds=seconds)] * 2
    found = verdicts.cost(steps, 3600, 0.1)
    assert found.state == 'ok' and '2.0 times' in found.said
    assert found.facts['hours'] == 2.0 and '2.0 h' in found.said
    assert '30.0 min' in verdicts.cost(steps, 900, 0.1).said
    slow = Step(seconds=dict(seconds, step=60.0))  # it also compiles
    assert verdicts.cost([slow, steps[0]], 3600, 0.1).facts['hours'] == 2.0
    found = verdicts.cost(steps, 3600, 5.0)
    assert found.state == 'note' and 'num_workers' in found.todo
    assert 'RoIAlign' not in found.todo
    found = verdicts.cost(steps, 3600, 0.1, waits_for_roi_align=True)
    assert found.state == 'note' and 'FastRoIAlignHook' in found.todo
    memory = dict(student=2**30, step=2**31)
    found = verdicts.cost([Step(seconds=seconds, memory=memory)], 1, 0.1)
    assert "2.0 GiB, the plain student's 1.0" in found.said
    assert 'kept' not in found.said
    kept = dict(student=3 * 2**30, loss_kd=2**19)
    step = Step(seconds=seconds, kept=kept, teacher=5 * 2**20)
    found = verdicts.cost([step], 1, 0.1)
    assert 'student 3 GiB, loss_kd 0.5 MiB' in found.said
    assert 'teacher are 5 MiB' in found.said
