"""A measured step, against the same step taken by hand."""

import copy

import pytest
import torch

from mmdet_rankkd.engine.doctor import verdicts
from mmdet_rankkd.engine.doctor.step import SEED, as_before, measure
from mmdet_rankkd.losses import KLDivLoss
from mmdet_rankkd.registry import MODELS

from ...setups import (
    SETUPS,
    batch_of,
    build_model,
    distiller_config,
    save_teacher,
)


@MODELS.register_module()
class MeddlingLoss(KLDivLoss):
    """Changes what the student keeps."""

    loss_name = 'loss_meddling'

    def distill(self, batch):
        for buffer in batch.student_model.buffers():
            if buffer.dtype == torch.long:
                buffer.add_(1)
        return super().distill(batch)


@MODELS.register_module()
class BrokenLoss(KLDivLoss):
    """Is not a number."""

    loss_name = 'loss_broken'

    def distill(self, batch):
        return super().distill(batch) * float('nan')


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """Make the distiller of a set-up, ready to be trained."""
    folder = tmp_path_factory.mktemp('teachers')

    def build(name, *losses, **settings):
        setup = SETUPS[name]()
        path = folder / f'{name}.pth'
        if not path.exists():
            save_teacher(setup, path)
        configs = [
            dict(type=x if '.' in x else f'mmdet_rankkd.{x}') for x in losses
        ]
        config = distiller_config(setup, path, configs, **settings)
        torch.manual_seed(0)
        model = build_model(config)
        model.init_weights()
        return model.train(), batch_of(setup)

    return build


@pytest.mark.parametrize(
    'name, loss',
    [
        ('faster-rcnn', 'KLDivLoss'),
        ('retinanet', 'BinaryKLDivLoss'),
        ('detr', 'KLDivLoss'),
        ('classifier', 'KLDivLoss'),
    ],
)
def test_the_own_step_is_the_plain_students(built, name, loss):
    model, data = built(name, loss, 'KendallRankLoss')
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with as_before(model):
        found = measure(model, data)
    assert found.same and found.repeats and not found.broken
    assert set(found.norms) == {'student', *model.losses}
    assert all(x > 0 for x in found.norms.values())
    assert all(-1.0001 <= x <= 1.0001 for x in found.cosines.values())
    assert {'student', 'step', 'teacher'} < set(found.seconds)
    assert set(found.kept) == {'student', *model.losses}
    assert found.kept['student'] > sum(found.kept[n] for n in model.losses) > 0
    teacher = model.teacher.model.state_dict().values()
    # Mean and deviation of the images are beside them.
    assert 0 <= found.teacher - sum(x.nbytes for x in teacher) < 100
    assert len(found.batch.logits.student)
    after = model.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    assert all(p.grad is None for p in model.parameters())
    assert 'replay' not in vars(model.teacher)
    assert not any('value' in vars(x) for x in model.losses.values())


def test_norms_are_those_of_the_terms(built):
    """Of one backward pass of a term alone, and of the plain student."""
    model, data = built('faster-rcnn', 'KLDivLoss')
    with as_before(model):
        found = measure(model, data)

    def vector(choose):
        model.zero_grad()
        torch.manual_seed(SEED)
        inputs = model.data_preprocessor(copy.deepcopy(data), True)
        losses = model(**inputs, mode='loss')
        kept = {k: v for k, v in losses.items() if choose(k)}
        model.parse_losses(kept)[0].backward()
        parts = (model.student.backbone, model.student.neck)
        return torch.cat(
            [
                p.grad.flatten()
                for part in parts
                for p in part.parameters()
                if p.requires_grad
            ]
        )

    term, own = vector('loss_kd'.__eq__), vector('loss_kd'.__ne__)
    assert found.norms['loss_kd'] == pytest.approx(term.norm().item(), 1e-4)
    assert found.norms['student'] == pytest.approx(own.norm().item(), 1e-4)
    cosine = torch.cosine_similarity(term, own, 0).item()
    assert found.cosines['loss_kd'] == pytest.approx(cosine, abs=1e-4)


def test_twice_the_weight_is_twice_the_gradient(built):
    model, data = built('classifier', 'KLDivLoss')
    norms = []
    for weight in (1.0, 2.0):
        model.losses['loss_kd'].loss_weight = weight
        with as_before(model):
            norms.append(measure(model, data).norms['loss_kd'])
    assert norms[1] == pytest.approx(2 * norms[0], 1e-4)


def test_a_loss_that_changes_the_student(built):
    model, data = built('classifier', 'mmdet_rankkd.MeddlingLoss')
    with as_before(model):
        found = measure(model, data)
    assert found.repeats and not found.same
    assert verdicts.own_step([found]).state == 'problem'


def test_a_loss_that_is_not_a_number(built):
    model, data = built('classifier', 'mmdet_rankkd.BrokenLoss')
    with as_before(model):
        found = measure(model, data)
    assert found.broken[0] == 'loss_broken'
    assert any(x.startswith('gradient of ') for x in found.broken)
    assert verdicts.finite([found]).state == 'problem'


def test_weights_that_take_no_part(built):
    model, data = built('classifier', 'KLDivLoss')
    model.student.backbone.register_module('idle', torch.nn.Linear(2, 2))
    with as_before(model):
        found = measure(model, data)
    assert found.unused == ['backbone.idle.weight', 'backbone.idle.bias']


def test_a_loss_that_begins_later_is_measured_at_its_full_weight(built):
    model, data = built('classifier', 'KLDivLoss')
    loss = model.losses['loss_kd']
    with as_before(model):
        full = measure(model, data).norms['loss_kd']
    loss.factor = 0.25
    with as_before(model):
        assert measure(model, data).norms['loss_kd'] == full
    assert loss.factor == 0.25
