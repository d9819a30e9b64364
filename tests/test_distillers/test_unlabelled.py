"""Images without annotations: what counts of them, and what does not."""

import logging

import pytest
import torch
from mmengine.structures import InstanceData

from mmdet_rankkd.distillers.unlabelled import AnnotatedShare

from ..programs import run_two_processes
from ..setups import (
    SETUPS,
    batch_of,
    build_model,
    distiller_config,
)

KD = dict(type='mmdet_rankkd.KLDivLoss')
BINARY = dict(type='mmdet_rankkd.BinaryKLDivLoss')
PKD = dict(type='mmdet_rankkd.PKDLoss', levels=(0,))
#: A set-up, and the loss of logits for it.
KINDS = {
    'faster-rcnn': KD,
    'cascade-rcnn': KD,
    'retinanet': BINARY,
    'fcos': BINARY,
    'atss': BINARY,
    'gfl': BINARY,
    'rtmdet': BINARY,
    'detr': KD,
    'dino': BINARY,
}


pytestmark = pytest.mark.usefixtures('no_training_before')


def make(name, checkpoints, losses, unlabelled=True):
    setup = SETUPS[name]()
    config = distiller_config(setup, checkpoints(name), losses)
    torch.manual_seed(0)
    model = build_model(dict(config, unlabelled=unlabelled))
    model.init_weights()
    return model.train()


def data_of(model, name, blank=(), empty=()):
    """A batch of two images; without annotations, or with an empty list."""
    data = batch_of(SETUPS[name]())
    for index in blank:
        sample = data['data_samples'][index]
        sample.gt_instances = InstanceData()
        sample.ignored_instances = InstanceData()
    for index in empty:
        sample = data['data_samples'][index]
        sample.gt_instances = sample.gt_instances[:0]
    return model.data_preprocessor(data, True)


def losses_of(model, data, seed=3):
    """Losses by name, each summed over its levels."""
    torch.manual_seed(seed)
    result = model(**data, mode='loss')
    return {
        k: v.sum() if isinstance(v, torch.Tensor) else sum(x.sum() for x in v)
        for k, v in result.items()
    }


def freeze_statistics(model):
    """Batch norms in evaluation mode: no pass changes the next."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


@pytest.mark.parametrize('name', KINDS)
def test_own_losses_are_those_of_the_others(name, checkpoints):
    """And the distillation's the mean over all, by parts."""
    model = make(name, checkpoints, [KINDS[name], PKD])
    freeze_statistics(model)
    data = data_of(model, name, blank=[1])
    mixed = losses_of(model, data)

    first = dict(
        inputs=data['inputs'][:1], data_samples=data['data_samples'][:1]
    )
    alone = losses_of(model, first)
    assert set(mixed) == set(alone)
    own = [k for k in alone if k not in (*model.losses, 'kendall_tau')]
    assert len(own) > 1
    for key in own:
        torch.testing.assert_close(mixed[key], alone[key])

    # The second image by itself, with the random numbers as the first left
    # them.
    losses_of(model, first)
    second = dict(
        inputs=data['inputs'][1:], data_samples=data['data_samples'][1:]
    )
    result = model(**second, mode='loss')
    for key in own:
        if 'loss' in key:
            assert result[key].sum() == 0
    for key in model.losses:
        expected = (alone[key] + result[key]) / 2
        assert result[key] > 0
        torch.testing.assert_close(mixed[key], expected)


@pytest.mark.parametrize('name', ['faster-rcnn', 'retinanet'])
def test_gradients_of_images_without_annotations(name, checkpoints):
    """They are distillation's alone, and no parameter is without one."""
    model = make(name, checkpoints, [KINDS[name]])
    freeze_statistics(model)
    data = data_of(model, name, blank=[0, 1])
    loss = losses_of(model, data)
    total = sum(v for k, v in loss.items() if 'loss' in k)
    total.backward()
    kinds = {n for n, p in model.student.named_parameters() if p.requires_grad}
    moved = {}
    for n, p in model.student.named_parameters():
        assert p.grad is not None or n not in kinds
        moved[n] = p.grad is not None and bool(p.grad.abs().sum() > 0)
    boxes = [n for n in moved if '_reg' in n]
    assert boxes and not any(moved[n] for n in boxes)
    assert any(moved[n] for n in moved if '_cls' in n)
    assert any(moved[n] for n in moved if n.startswith('backbone'))

    # As with an empty list of boxes, of which KD asks nothing.
    empty = losses_of(model, data_of(model, name, empty=[0, 1]))
    (kd,) = model.losses
    torch.testing.assert_close(empty[kd], loss[kd])
    assert empty['loss_cls'] > 0 and loss['loss_cls'] == 0


@pytest.mark.parametrize('name', ['faster-rcnn', 'gfl'])
def test_batches_with_annotations_are_as_ever(name, checkpoints):
    for empty in ([], [1]):
        values = []
        for unlabelled in (False, True):
            model = make(name, checkpoints, [KINDS[name]], unlabelled)
            data = data_of(model, name, empty=empty)
            values.append(losses_of(model, data))
        assert values[0] == values[1]


NEEDY = [
    ('faster-rcnn', dict(type='mmdet_rankkd.DKDLoss')),
    ('faster-rcnn', dict(type='mmdet_rankkd.NKDLoss')),
    ('faster-rcnn', dict(KD, rows='foreground')),
    ('faster-rcnn', dict(type='mmdet_rankkd.FGDLoss', levels=(0, 1))),
    ('faster-rcnn', dict(type='mmdet_rankkd.FGFILoss', levels=(0, 1))),
    ('gfl', dict(type='mmdet_rankkd.LDLoss')),
    ('gfl', dict(type='mmdet_rankkd.CrossKDLoss')),
    ('gfl', dict(BINARY, rows='per_object')),
]


@pytest.mark.parametrize('name, needy', NEEDY)
def test_losses_that_need_objects_take_the_others(
    name, needy, checkpoints, caplog
):
    needy = dict(needy, loss_name='loss_needy')
    model = make(name, checkpoints, [needy, PKD])
    freeze_statistics(model)
    data = data_of(model, name, blank=[1])
    mixed = losses_of(model, data)
    first = dict(
        inputs=data['inputs'][:1], data_samples=data['data_samples'][:1]
    )
    alone = losses_of(model, first)
    assert alone['loss_needy'] > 0
    torch.testing.assert_close(mixed['loss_needy'], alone['loss_needy'])
    only = [n for n, x in model.losses.items() if x.annotated_only]
    assert only == ['loss_needy']
    blank = losses_of(model, data_of(model, name, blank=[0, 1]))
    assert blank.get('loss_needy', 0) == 0 and blank['loss_pkd'] > 0


def test_it_is_said_once(checkpoints, monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmdet_rankkd.losses.base.print_log',
        lambda text, logger, level=logging.INFO: said.append((level, text)),
    )
    needy = dict(KD, rows='foreground')
    model = make('faster-rcnn', checkpoints, [needy])
    said.clear()
    data = data_of(model, 'faster-rcnn', blank=[1])
    for _ in range(2):
        losses_of(model, data)
    (fact,) = said
    assert fact[0] == logging.WARNING
    assert "loss_kd: KLDivLoss has rows='foreground'" in fact[1]


@pytest.mark.parametrize('known, warned', [(32, True), (34, False)])
def test_few_images_with_annotations_are_told(monkeypatch, known, warned):
    """Of a hundred a step, and once."""
    said = []
    monkeypatch.setattr(
        'mmdet_rankkd.distillers.unlabelled.print_log',
        lambda text, logger, level: said.append((level, text)),
    )
    share = AnnotatedShare()
    for _ in range(49):
        share.count(known, 100 - known)
    assert said == []
    for _ in range(100):
        share.count(known, 100 - known)
    if not warned:
        assert said == []
        return
    ((level, text),) = said
    assert level == logging.WARNING
    assert '1600 of the 5000 images of the first 50 steps' in text


@pytest.mark.parametrize('weight', [1.0, 0.0])
def test_images_of_each_step_are_counted(checkpoints, weight):
    """With annotations or without, whatever losses count."""
    model = make('retinanet', checkpoints, [dict(BINARY, loss_weight=weight)])
    for blank in ([1], [], [0, 1]):
        losses_of(model, data_of(model, 'retinanet', blank=blank))
    share = model.share
    assert (share.steps, share.known, share.blank) == (3, 3, 3)


def test_without_the_option(checkpoints):
    model = make('retinanet', checkpoints, [BINARY], unlabelled=False)
    data = data_of(model, 'retinanet', blank=[1])
    with pytest.raises(ValueError, match='no annotations.*unlabelled=True'):
        losses_of(model, data)
    model.eval()
    with torch.no_grad():
        assert len(model(**data, mode='predict')) == 2


def test_not_with_masks(checkpoints):
    with pytest.raises(ValueError, match='not for detectors with masks'):
        make('mask-rcnn', checkpoints, [KD])


@pytest.mark.parametrize('pad', [True, False])
def test_not_where_a_batch_is_resized(checkpoints, pad):
    augment = dict(type='BatchFixedSizePad', size=(64, 64), pad_mask=False)
    if not pad:
        augment = dict(
            type='BatchSyncRandomResize', random_size_range=(64, 96)
        )
    setup = SETUPS['retinanet']()
    setup.student['data_preprocessor']['batch_augments'] = [augment]
    config = distiller_config(
        setup, checkpoints('retinanet'), [BINARY], unlabelled=True
    )
    if pad:
        assert build_model(config).unlabelled
        return
    with pytest.raises(ValueError, match='not for BatchSyncRandomResize'):
        build_model(config)


def test_teachers_own_images_are_split_too(checkpoints):
    """Of a teacher with another normalisation."""
    setup = SETUPS['retinanet']()
    setup.teacher['data_preprocessor']['mean'] = [1.0, 2.0, 3.0]
    config = distiller_config(
        setup, checkpoints('retinanet'), [BINARY], unlabelled=True
    )
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    freeze_statistics(model.train())
    data = data_of(model, 'retinanet', blank=[0])
    assert data['teacher_inputs'].shape == data['inputs'].shape
    mixed = losses_of(model, data)
    parts = [
        losses_of(model, {k: v[i : i + 1] for k, v in data.items()})
        for i in range(2)
    ]
    (name,) = model.losses
    expected = (parts[0][name] + parts[1][name]) / 2
    torch.testing.assert_close(mixed[name], expected)


PROCESSES = """
import os, sys, torch
torch.distributed.init_process_group('gloo')
from mmdet_rankkd.distillers.unlabelled import compare_processes
rank = torch.distributed.get_rank()
device = torch.device('cpu')
compare_processes(True, True, device)
compare_processes(False, True, device)
for kinds in ((True, rank == 0), (rank == 0, True)):
    try:
        compare_processes(*kinds, device)
    except ValueError as error:
        named = 'MultiSourceSampler' in str(error)
        sys.stdout.write(f'refused {named}\\n')  # one write: a whole line
"""


def test_processes_must_have_the_same_kinds():
    assert run_two_processes(PROCESSES).count('refused True') == 4
