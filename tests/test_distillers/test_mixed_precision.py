"""Under autocast a distillation learns as it does in float32.

200 steps and more detectors are in tests/trust/precision.py.
"""

import pytest
import torch

from ..trust.precision import (
    DTYPES,
    compare,
    detector,
    difference,
    disturb,
    typical_difference,
)

STEPS = 2


@pytest.mark.parametrize('name', ['classifier', 'retinanet'])
def test_losses_are_finite_and_near(name):
    curves = {}

    def kept(case, kind, found):
        curves[case, kind] = found['loss']

    for facts in compare(name, STEPS, DTYPES, 'cpu', 1, kept):
        assert facts['finite']
        # Else autocast did nothing.
        assert 0 < facts['difference'] < 0.05, facts
        assert 0 < facts['rounding'] < 0.05, facts
    assert set(curves) == {(name, x) for x in ('float32', *DTYPES)}
    assert {len(x) for x in curves.values()} == {STEPS}


def test_logits_are_half_and_losses_are_not(tmp_path):
    model, batches = detector('retinanet', tmp_path)
    model.init_weights()
    data = model.data_preprocessor(next(batches), True)
    with torch.autocast('cpu', torch.bfloat16):
        with model.logits.record(model.student) as record:
            model.student(**data, mode='loss')
        losses = model(**data, mode='loss')
    assert {x.dtype for x in record.logits} == {torch.bfloat16}
    for name in model.losses:
        assert losses[name].dtype == torch.float32, name


def test_each_weight_is_disturbed():
    changes = []
    for seed in (0, 1):
        layer = torch.nn.Linear(30, 30)
        before = layer.weight.detach().clone()
        disturb(layer, seed, 1e-3)
        changes.append(layer.weight / before - 1)
        assert 0.9e-3 < changes[-1].std() < 1.1e-3
    assert (changes[0] - changes[1]).abs().max() > 1e-3


def test_a_difference_is_seen():
    one = dict(loss=[1.0] * 20 + [2.0] * 20, acc=[5.0] * 40)
    other = dict(loss=[1.0] * 20 + [1.5] * 20, acc=[0.0] * 40)
    assert difference(one, other) == dict(loss=0.25)


def test_the_middle_of_several_differences_counts():
    one = dict(loss=[1.0] * 20)
    others = [dict(loss=[x] * 20) for x in (1.5, 1.0, 1.25)]
    assert typical_difference(one, others) == 0.25
