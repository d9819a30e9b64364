"""Losses that begin later meet the first batch, so that they fail at once."""

import pytest
import torch

from mmdet_rankkd.recorders import DenseLogits

from ..setups import SETUPS, batch_of, build_model, distiller_config

pytestmark = pytest.mark.usefixtures('no_training_before')
LATE = dict(schedule=dict(begin=8))


def build(name, checkpoint, loss, teacher=None, **settings):
    """A distiller of one late loss, before its first step."""
    setup = SETUPS[name]()
    losses = [setup.loss(loss, **settings, **LATE)]
    config = distiller_config(setup, checkpoint, losses)
    config['teacher']['config']['model'] = {**setup.teacher, **(teacher or {})}
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    for term in model.losses.values():
        term.set_progress(0, 0)
    return model.train()


def step(model, name, views=False):
    """All losses of a batch."""
    data = batch_of(SETUPS[name]())
    if not views:
        data.pop('strong_inputs', None)
    return model(**model.data_preprocessor(data, True), mode='loss')


@pytest.mark.parametrize(
    'name, loss, settings, error, message',
    [
        ('fcos', 'FGFILoss', {}, TypeError, 'needs a detector with anchors'),
        (
            'faster-rcnn',
            'CWDLoss',
            dict(maps='classes'),
            ValueError,
            'needs a row for every place',
        ),
        ('retinanet', 'DKDLoss', {}, ValueError, 'labels must be in'),
        ('retinanet', 'DISTLoss', {}, ValueError, 'cannot weigh the rows'),
        (
            'retinanet',
            'KendallRankLoss',
            dict(background=True),
            ValueError,
            'there is no background column',
        ),
        ('classifier', 'MLKDLoss', {}, ValueError, 'strong view'),
        (
            'classifier',
            'KLDivLoss',
            dict(view='strong'),
            ValueError,
            'strong view',
        ),
    ],
)
def test_what_cannot_be_compared(
    name, loss, settings, error, message, checkpoints
):
    model = build(name, checkpoints(name), loss, **settings)
    with pytest.raises(error, match=message):
        step(model, name)


@pytest.mark.parametrize('name', ['retinanet', 'faster-rcnn'])
def test_images_of_other_sizes(name, checkpoints):
    """A teacher that pads its images further has other grids and levels."""
    preprocessor = {
        **SETUPS[name]().teacher['data_preprocessor'],
        'pad_size_divisor': 256,
    }
    loss = 'BinaryKLDivLoss' if name == 'retinanet' else 'CWDLoss'
    teacher = dict(data_preprocessor=preprocessor)
    model = build(name, checkpoints(name), loss, teacher)
    with pytest.raises(ValueError, match='pad_size_divisor|shape'):
        step(model, name)


def test_augmented_batches(checkpoints):
    """The teacher's normalisation is another, and the student's mixes."""
    name = 'faster-rcnn'
    setup = SETUPS[name]()
    teacher = dict(
        data_preprocessor={
            **setup.teacher['data_preprocessor'],
            'mean': [1.0, 2.0, 3.0],
        }
    )
    model = build(name, checkpoints(name), 'KLDivLoss', teacher)
    model.student.data_preprocessor.batch_augments = [lambda *x: x]
    with pytest.raises(ValueError, match='batch_augments'):
        step(model, name)


def test_the_teacher_is_not_asked_again(checkpoints, monkeypatch):
    """Nor is anything logged that does not count."""
    name, asked = 'retinanet', []
    replay = DenseLogits.replay

    def noted(self, *arguments):
        asked.append(1)
        return replay(self, *arguments)

    monkeypatch.setattr(DenseLogits, 'replay', noted)
    model = build(name, checkpoints(name), 'BinaryKLDivLoss')
    for _ in range(3):
        losses = step(model, name)
        assert 'loss_binary_kd' not in losses and 'kendall_tau' not in losses
        assert len(asked) == 1
    for term in model.losses.values():
        term.set_progress(8, 0)
    losses = step(model, name)
    assert losses['loss_binary_kd'] > 0 and len(asked) == 2
