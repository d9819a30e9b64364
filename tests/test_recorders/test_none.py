"""Distillation without logits: teachers of other families."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer

from mmdet_rankkd.engine.doctor.examine import examine
from mmdet_rankkd.engine.doctor.finding import OK
from mmdet_rankkd.recorders import listening

from ..helpers import make_runner, raw_batch
from ..setups import SETUPS, build_model, distiller_config, save_teacher

NONE = dict(type='mmdet_rankkd.NoLogits')
STUDENT = 'retinanet'
TEACHERS = ('fcos', 'mask-rcnn')


def make(tmp_path, teacher, losses, logits=NONE, scale=None, **settings):
    """A RetinaNet that learns from a detector of another family."""
    setup = SETUPS[STUDENT]()
    setup.teacher = SETUPS[teacher]().teacher
    setup.logits = dict(logits)
    # The teacher has masks, and asks for no more padding than the student.
    setup.teacher['data_preprocessor']['pad_mask'] = False
    save_teacher(setup, tmp_path / 'teacher.pth')
    config = distiller_config(
        setup, tmp_path / 'teacher.pth', losses, **settings
    )
    config['teacher']['input_scale'] = scale
    torch.manual_seed(0)
    return build_model(config).train()


@pytest.mark.parametrize('teacher', TEACHERS)
def test_a_teacher_of_another_family(teacher, tmp_path):
    """Its features teach, its heads never run, its classes do not matter."""
    setup = SETUPS[STUDENT]()
    pkd = setup.loss('PKDLoss')
    with pytest.raises((TypeError, ValueError)):
        make(tmp_path, teacher, [pkd], setup.logits).prepare()
    model = make(tmp_path, teacher, [pkd])
    visualizer = Visualizer.get_instance('names')
    visualizer.dataset_meta = dict(classes=['a', 'b'])
    model.teacher.classes = ['x']
    model.init_weights()
    data = model.data_preprocessor(raw_batch(), True)
    ran = []
    taught = model.teacher.model
    head = taught.bbox_head if teacher == 'fcos' else taught.roi_head.bbox_head
    with listening(head, 'forward', lambda *args, **kwargs: ran.append(1)):
        result = model(**data, mode='loss')
    assert result['loss_pkd'] > 0 and not ran
    assert 'kendall_tau' not in result
    result['loss_pkd'].backward()
    weight = model.student.neck.fpn_convs[0].conv.weight
    assert weight.grad.any()
    assert model.student.bbox_head.retina_cls.weight.grad is None


def test_it_is_said_before_training(tmp_path):
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        model = make(tmp_path, 'fcos', [SETUPS[STUDENT]().loss('PKDLoss')])
        model.init_weights()
    finally:
        logger.removeHandler(handler)
    (found,) = (x for x in lines if x.startswith('distillation: '))
    assert 'rows: none, logits are not compared' in found
    assert 'classes: names not compared, as no logits are' in found


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='mmdet_rankkd.BinaryKLDivLoss'),
        dict(type='mmdet_rankkd.KendallRankLoss'),
        dict(type='mmdet_rankkd.MaskKDLoss'),
        dict(type='mmdet_rankkd.CWDLoss', maps='classes'),
    ],
)
def test_losses_of_logits_are_refused(loss, tmp_path):
    with pytest.raises(ValueError, match='cannot stand beside NoLogits'):
        make(tmp_path, 'fcos', [loss])


def test_images_without_annotations(tmp_path):
    pkd = SETUPS[STUDENT]().loss('PKDLoss')
    model = make(tmp_path, 'fcos', [pkd], unlabelled=True)
    raw = raw_batch()
    blank = raw['data_samples'][1]
    del blank.gt_instances, blank.ignored_instances
    result = model(**model.data_preprocessor(raw, True), mode='loss')
    assert result['loss_pkd'] > 0 and result['loss_pkd'].isfinite()


def test_a_teacher_of_another_resolution(tmp_path):
    """At the levels of the same grid, as beside a recorder of logits."""
    pkd = dict(type='mmdet_rankkd.PKDLoss', levels=(0, 1, 2))
    model = make(tmp_path, 'fcos', [pkd], scale=2)
    raw = raw_batch()
    raw['teacher_inputs'] = [
        x.repeat_interleave(2, 1).repeat_interleave(2, 2)
        for x in raw['inputs']
    ]
    for sample in raw['data_samples']:
        sample.set_metainfo(dict(teacher_scale=(2.0, 2.0)))
    data = model.data_preprocessor(raw, True)
    assert data['teacher_inputs'].shape[2:] == (192, 192)
    assert model(**data, mode='loss')['loss_pkd'] > 0


def test_examined_and_trained(distill_cfg):
    """A whole training by the Runner, after the doctor has seen a batch."""
    cfg = distill_cfg
    cfg.model.logits = dict(NONE)
    pkd = SETUPS['faster-rcnn']().loss('PKDLoss', loss_weight=0.1)
    cfg.model.losses = [pkd]
    found = {x.name: x for x in examine(cfg, images=0, batches=1)}
    assert found['compared'].state == OK
    assert 'logits are not compared; layers' in found['compared'].said
    runner = make_runner(cfg)
    runner.train()
    logged = runner.message_hub.log_scalars
    assert 'train/loss_pkd' in logged
    assert 'train/kendall_tau' not in logged
