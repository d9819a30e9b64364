"""LD of a detector: equal to MMDetection's own, trained, checked."""

import copy

import pytest
import torch

from mmdet_rankkd.recorders import BoxDistributions

from ..helpers import raw_batch
from ..setups import SETUPS, build_model, distiller_config, save_teacher


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher') / 'gfl.pth'
    save_teacher(SETUPS['gfl'](), path)
    return path


def distiller(checkpoint, losses, **settings):
    """GFL with losses, and the same weights each time."""
    config = distiller_config(SETUPS['gfl'](), checkpoint, losses)
    config['student'].update(settings)
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    return model.train()


def foreign(checkpoint, student, temperature=10, weight=0.25):
    """MMDetection's distillation of the same weights."""
    setup = SETUPS['gfl']()
    config = copy.deepcopy(setup.student)
    config.update(
        type='KnowledgeDistillationSingleStageDetector',
        teacher_config=dict(model=setup.teacher),
        teacher_ckpt=str(checkpoint),
    )
    config['bbox_head'].update(
        type='LDHead',
        loss_ld=dict(
            type='KnowledgeDistillationKLDivLoss',
            loss_weight=weight,
            T=temperature,
        ),
    )
    model = build_model(config)
    model.load_state_dict(student.state_dict())
    model.train()  # returns nothing
    return model


@pytest.mark.parametrize('temperature, weight', [(10, 0.25), (2, 3.0)])
def test_equal_to_mmdetection(checkpoint, temperature, weight):
    """Every loss, and the gradients of all weights by LD and by the sum."""
    loss = dict(
        type='mmdet_rankkd.LDLoss',
        temperature=temperature,
        valuable_weight=0,
        loss_weight=weight,
    )
    model = distiller(checkpoint, [loss])
    # So that places differ in their weights, and distributions by much more
    # than rounding.
    head = model.student.bbox_head
    for parameter in (*head.gfl_cls.parameters(), *head.gfl_reg.parameters()):
        parameter.data += 0.2 * torch.randn_like(parameter)
    other = foreign(checkpoint, model.student, temperature, weight)
    sums, gradients = [], []
    for network in (model, other):
        data = network.data_preprocessor(raw_batch(), True)
        losses = network(**data, mode='loss')
        losses.pop('kendall_tau', None)
        values = {
            k: sum(v) if isinstance(v, list) else v for k, v in losses.items()
        }
        sums.append({k: v.item() for k, v in values.items()})
        student = getattr(network, 'student', network)
        parameters = [p for p in student.parameters() if p.requires_grad]
        for total in (values['loss_ld'], sum(values.values())):
            gradients.append(
                torch.autograd.grad(
                    total, parameters, retain_graph=True, allow_unused=True
                )
            )
    assert sums[0] == pytest.approx(sums[1], rel=1e-6)
    assert sums[0]['loss_ld'] > 1e-3
    for found, expected in zip(gradients[:2], gradients[2:]):
        pairs = list(zip(found, expected))
        assert all((a is None) == (b is None) for a, b in pairs)
        a, b = (
            torch.cat([x[i].flatten() for x in pairs if x[0] is not None])
            for i in (0, 1)
        )
        assert (a - b).norm() <= 1e-5 * b.norm() and b.norm() > 1e-3


def test_the_valuable_region_counts(checkpoint):
    """It adds to the loss, and moves the weights of boxes, not of classes."""
    values = []
    for weight in (0.0, 1.0):
        loss = dict(type='mmdet_rankkd.LDLoss', valuable_weight=weight)
        model = distiller(checkpoint, [loss])
        data = model.data_preprocessor(raw_batch(), True)
        value = model(**data, mode='loss')['loss_ld']
        value.backward()
        head = model.student.bbox_head
        assert head.gfl_reg.weight.grad.any()
        assert head.gfl_cls.weight.grad is None
        values.append(value.item())
    assert values[1] > 1.2 * values[0]


def test_the_teachers_head_runs_once(checkpoint):
    losses = [
        dict(type='mmdet_rankkd.LDLoss'),
        dict(type='mmdet_rankkd.BinaryKLDivLoss'),
    ]
    model = distiller(checkpoint, losses)
    model.prepare()
    calls = []
    head = model.teacher.model.bbox_head
    head.register_forward_hook(lambda *_: calls.append(1))
    data = model.data_preprocessor(raw_batch(), True)
    model(**data, mode='loss')
    assert len(calls) == 1
    # A recorder of its own runs the head itself.
    recorder = BoxDistributions()
    with recorder.record(model.student) as record:
        model.student(
            **{k: data[k] for k in ('inputs', 'data_samples')}, mode='loss'
        )
    features = model.teacher.model.extract_feat(data['inputs'])
    pair = recorder.replay(model.teacher.model, features, record)
    assert len(calls) == 2
    assert pair.student.shape == pair.teacher.shape
    assert pair.student.requires_grad and not pair.teacher.requires_grad
    # Rows as in MMDetection: levels, images, places.
    levels = [x[0].numel() // x.shape[1] for x in record.logits]
    counts = [2 * n for n in levels]
    assert pair.level.bincount().tolist() == counts
    assert pair.image[: counts[0]].bincount().tolist() == levels[:1] * 2
    stride = pair.priors[1] - pair.priors[0]
    assert stride.tolist() == [4, 0, 4, 0]


@pytest.mark.parametrize(
    'name, changes, error, message',
    [
        ('atss', {}, TypeError, 'reg_max as that of GFL, but the student'),
        ('faster-rcnn', {}, TypeError, 'of LDLoss. needs a detector'),
        (
            'gfl',
            {'bbox_head.reg_max': 4},
            ValueError,
            'student has reg_max=4 and the teacher 8',
        ),
    ],
)
def test_what_cannot_be_compared(tmp_path, name, changes, error, message):
    """Before the first step."""
    setup = SETUPS[name]()
    save_teacher(setup, tmp_path / 'teacher.pth')
    losses = [dict(type='mmdet_rankkd.LDLoss')]
    config = distiller_config(setup, tmp_path / 'teacher.pth', losses)
    for key, value in changes.items():
        part, key = key.split('.')
        config['student'][part][key] = value
    model = build_model(config)
    with pytest.raises(error, match=message):
        model.init_weights()
