"""Configs with mistakes: what was wrong, where, and what to do."""

import logging
import os

import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.checkpoint.read import read_checkpoint

from ..helpers import build, make_runner, raw_batch

KD = dict(type='mmdet_rankkd.KLDivLoss')
RANK = dict(type='mmdet_rankkd.KendallRankLoss')
FITNET = dict(
    type='mmdet_rankkd.FitNetLoss', levels=(0, 1, 2, 3), loss_weight=1.0
)

RETINANET = 'retinanet/retinanet_r50_fpn_1x_coco.py'

MISTAKES = [
    (dict(losses=[]), ValueError, 'losses is empty.*student alone'),
    (dict(losses=KD), TypeError, r'must be a list, as in losses=\[dict'),
    (dict(losses=['KLDivLoss']), TypeError, r'losses\[0\] must be a dict'),
    (
        dict(losses=[dict(loss_weight=1)]),
        TypeError,
        r'losses\[0\] has no type',
    ),
    (
        dict(losses=[KD, dict(type='KendallRankLoss')]),
        KeyError,
        r"losses\[1\]: write type='mmdet_rankkd.KendallRankLoss' in place of",
    ),
    (
        dict(losses=[dict(type='mmdet_rankkd.KLDivLos')]),
        KeyError,
        r"no type 'mmdet_rankkd.KLDivLos' \(did you mean 'KLDivLoss'\?\)",
    ),
    (
        dict(logits=dict(type='RoILogits')),
        KeyError,
        "logits: write type='mmdet_rankkd.RoILogits'",
    ),
    (
        dict(logits=dict(type='mmdet_rankkd.RoILogits', positive_only=True)),
        TypeError,
        r"no argument 'positive_only' \(did you mean 'positives_only'\?\)",
    ),
    (
        dict(losses=[dict(KD, temprature=2)]),
        TypeError,
        r"KLDivLoss has no argument 'temprature' \(did you mean 'temperature'",
    ),
    (
        dict(losses=[dict(KD, weight=2)]),
        TypeError,
        "no argument 'weight'.*it has temperature, .*loss_weight",
    ),
    (
        dict(losses=[dict(KD, schedule=dict(start=3))]),
        TypeError,
        "schedule has no argument 'start'; it has begin, end, warmup",
    ),
    (
        dict(losses=[dict(KD, schedule=dict(begin='3'))]),
        TypeError,
        "begin of a schedule must be a number, got '3'",
    ),
    (
        dict(losses=[dict(KD, schedule=3)]),
        TypeError,
        'must be a dict of begin',
    ),
    (
        dict(losses=[dict(KD, loss_weight='1.0')]),
        TypeError,
        "KLDivLoss: loss_weight must be a number, got '1.0'",
    ),
    (
        dict(losses=[dict(KD, loss_weight=-1)]),
        ValueError,
        'must be finite and at least 0, got -1',
    ),
    (
        dict(losses=[dict(KD, loss_weight=float('nan'))]),
        ValueError,
        'must be finite and at least 0, got nan',
    ),
    (
        dict(student='student.py'),
        TypeError,
        "got 'student.py'.*student=_base_.model",
    ),
    (
        dict(teacher=dict(config='a.py', checkpoint='b.pth', chekpoint=1)),
        ValueError,
        r"teacher: Teacher has no argument 'chekpoint' \(did you mean",
    ),
    (dict(backbone=dict(), neck=dict()), TypeError, '_delete_=True'),
]


@pytest.mark.parametrize('changes, error, message', MISTAKES)
def test_mistakes(distill_cfg, changes, error, message):
    with pytest.raises(error, match=message):
        build(dict(distill_cfg.model, **changes))


def test_student_that_is_a_whole_config(distill_cfg, project):
    whole = Config.fromfile(project / 'student.py')
    for student in (whole, whole.to_dict()):
        with pytest.raises(TypeError, match='write student=_base_.model'):
            build(dict(distill_cfg.model, student=student))


def test_delete_forgotten(project, tmp_path):
    """As MMEngine merges it."""
    text = (project / 'distill.py').read_text()
    path = tmp_path / 'forgotten.py'
    path.write_text(
        text.replace('_delete_=True,', '').replace(
            './student.py', str(project / 'student.py')
        )
    )
    with pytest.raises(TypeError, match='_delete_=True'):
        build(Config.fromfile(path).model)


# A teacher that cannot be used, in a training whose losses begin late.


def start(cfg):
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.model.losses = [dict(KD, schedule=dict(begin=8))]
    runner = make_runner(cfg)
    steps = []
    runner.model.register_forward_pre_hook(lambda *_: steps.append(1))
    return runner, steps


@pytest.mark.parametrize(
    'changes, error, message',
    [
        ({'teacher.checkpoint': 'no.pth'}, FileNotFoundError, 'no.pth'),
        ({'teacher.config': 'no.py'}, FileNotFoundError, 'no.py'),
        (
            {'teacher.config': f'mmdet::{RETINANET}'},
            TypeError,
            'RetinaNet, has no roi_head',
        ),
    ],
)
def test_checked_before_the_first_step(distill_cfg, changes, error, message):
    distill_cfg.merge_from_dict({f'model.{k}': v for k, v in changes.items()})
    runner, steps = start(distill_cfg)
    with pytest.raises(error, match=message):
        runner.train()
    assert not steps


def test_paths_beside_the_config(project, tmp_path, monkeypatch):
    """Relative paths, from a folder that has nothing to do with either."""
    text = (project / 'distill.py').read_text()
    config = project / 'beside.py'
    config.write_text(text.replace(f'{project}/', ''))
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(config)
    cfg.work_dir = str(tmp_path / 'work')
    assert cfg.model.teacher.config == 'teacher.py'
    runner = make_runner(cfg)
    runner.model.prepare()
    assert runner.model.teacher.model is not None
    cfg.model.teacher.checkpoint = 'elsewhere.pth'
    runner = make_runner(cfg)
    with pytest.raises(FileNotFoundError) as info:
        runner.model.prepare()
    message = str(info.value)
    assert str(tmp_path) in message and str(project) in message
    # What is in the current folder comes first.
    os.symlink(project / 'teacher.pth', tmp_path / 'elsewhere.pth')
    runner.model.prepare()


# What the log says before the first step.


@pytest.fixture
def log(monkeypatch):
    """Lines that go to MMEngine's logger."""
    lines = []

    def note(message, logger=None, level=logging.INFO):
        lines.append((level, str(message)))

    for module in (
        'distillers.report',
        'distillers.student_wrapper',
        'distillers.teacher',
        'losses.logit.base',
        'losses.logit.kendall',
    ):
        monkeypatch.setattr(f'mmdet_rankkd.{module}.print_log', note)
    return lines


def test_the_log_says_what_is_distilled(distill_cfg, log):
    distill_cfg.model.losses[1].update(
        loss_weight=0.5, schedule=dict(begin=2, warmup=3)
    )
    runner = make_runner(distill_cfg)
    runner.model.init_weights()
    text = log[-1][1]
    count = len(runner.model.teacher.model.state_dict())
    student, teacher = (
        sum(p.numel() for p in m.parameters()) / 1e6
        for m in (runner.model.student, runner.model.teacher.model)
    )
    for line in (
        'FasterRCNN teaches FasterRCNN',
        f'weights: all {count} found, 0 unused',
        'RoILogits',
        'background column, 4 columns\n',
        f"{teacher:.2f} M weights to the student's {student:.2f} M; the "
        'losses learn none',
        'loss_kd: KLDivLoss, weight 1\n',
        'loss_rank: KendallRankLoss, weight 0.5, from epoch 2 on, warm-up',
    ):
        assert line in text
    assert str(distill_cfg.model.teacher.checkpoint) in text


def test_the_log_counts_what_losses_learn(distill_cfg, log):
    distill_cfg.model.losses = [
        dict(type='mmdet_rankkd.FitNetLoss', levels=(0, 1))
    ]
    model = make_runner(distill_cfg).model
    learned = sum(p.numel() for p in model.losses.parameters())
    assert learned
    model.init_weights()
    assert f'the losses learn {learned / 1e6:.2f} M more' in log[-1][1]


def test_class_names_that_could_not_be_compared(distill_cfg, project, log):
    checkpoint = torch.load(project / 'teacher.pth')
    checkpoint['meta'] = {}
    torch.save(checkpoint, project / 'nameless.pth')
    distill_cfg.model.teacher.checkpoint = str(project / 'nameless.pth')
    make_runner(distill_cfg).model.init_weights()
    (line,) = [x for level, x in log if level == logging.WARNING]
    assert 'NOT compared' in line and 'classes=[...]' in line


def test_all_weights_zero(distill_cfg, log):
    for loss in distill_cfg.model.losses:
        loss.loss_weight = 0
    distill_cfg.model.teacher.checkpoint = 'nowhere.pth'
    model = build(distill_cfg.model)
    model.init_weights()
    assert 'trains alone' in log[-1][1] and not model.losses


def test_softmax_loss_on_a_sigmoid_head(log, tmp_path):
    from ..setups import SETUPS, build_model, distiller_config, save_teacher

    for name, loss, expected in (
        ('retinanet', KD, 'BinaryKLDivLoss is the form'),
        (
            'faster-rcnn',
            dict(type='mmdet_rankkd.BinaryKLDivLoss'),
            'KLDivLoss',
        ),
    ):
        setup = SETUPS[name]()
        path = tmp_path / f'{name}.pth'
        save_teacher(setup, path)
        del log[:]
        for losses, count in (([loss], 1), ([RANK], 0)):
            model = build_model(distiller_config(setup, path, losses))
            model.init_weights()
            lines = [x for _, x in log if 'is for heads that use' in x]
            assert len(lines) == count
            assert all(expected in x for x in lines)
            del log[:]


def test_one_class(distill_cfg, project, tmp_path, log):
    for background, columns in ((False, 'one column'), (True, 'two columns')):
        config = one_class(distill_cfg, project, tmp_path)
        config.logits.background = background
        config.losses = [KD, RANK]
        model = build(config).train()
        model.init_weights()
        lines = [x for _, x in log if 'logits that are compared have' in x]
        assert len(lines) == 1 and columns in lines[0]
        batch = raw_batch()
        for sample in batch['data_samples']:
            sample.gt_instances.labels[:] = 0
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        assert ('kendall_tau' in losses) == background
        total, logs = model.parse_losses(losses)
        assert all(torch.isfinite(torch.as_tensor(v)) for v in logs.values())
        total.backward()
        del log[:]


@pytest.mark.parametrize(
    'losses, columns',
    [
        # The ranking loss leaves the second column out by itself.
        ([KD, dict(RANK, background=False)], 'have one column'),
        ([KD], None),
    ],
)
def test_one_class_and_background(
    distill_cfg, project, tmp_path, log, losses, columns
):
    """Each loss is judged by its own columns, and tau by the recorder's."""
    config = one_class(distill_cfg, project, tmp_path)
    config.losses = losses
    build(config).init_weights()
    ranking = [x for _, x in log if 'logits that are compared have' in x]
    assert len(ranking) == (columns is not None)
    assert all(columns in x for x in ranking)
    assert len([x for _, x in log if 'compared in two columns' in x]) == 1


def one_class(distill_cfg, project, tmp_path):
    """The user's distillation with detectors of one class."""
    config = Config.fromfile(project / 'teacher.py')
    config.model.roi_head.bbox_head.num_classes = 1
    torch.manual_seed(1)
    path = tmp_path / 'one.pth'
    torch.save(dict(state_dict=build(config.model).state_dict()), path)
    model = distill_cfg.model.copy()
    model.student.roi_head.bbox_head.num_classes = 1
    model.teacher = dict(
        config=dict(model=config.model.to_dict()), checkpoint=str(path)
    )
    return model


# Resuming with other losses.


@pytest.fixture(scope='module')
def with_fitnet(project, tmp_path_factory):
    """Checkpoint of a training with KD and FitNet."""
    cfg = Config.fromfile(project / 'distill.py')
    cfg.work_dir = str(tmp_path_factory.mktemp('fitnet'))
    return train(cfg, [KD, FITNET])


def train(cfg, losses, **settings):
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.model.losses = losses
    cfg.merge_from_dict(settings)
    make_runner(cfg).train()
    return f'{cfg.work_dir}/epoch_{cfg.train_cfg.max_epochs}.pth'


def test_loss_dropped_on_resume(with_fitnet, distill_cfg):
    settings = dict(load_from=with_fitnet, resume=True)
    with pytest.raises(
        ValueError, match='loss_fitnet learned, .* not in losses'
    ):
        train(distill_cfg, [KD], **settings)


def test_loss_added_on_resume(project, distill_cfg, tmp_path):
    first = train(distill_cfg.copy(), [KD], work_dir=str(tmp_path / 'first'))
    settings = dict(load_from=first, resume=True)
    with pytest.raises(ValueError, match='holds nothing of loss_fitnet'):
        train(distill_cfg, [KD, FITNET], **settings)


@pytest.mark.parametrize(
    'first, then, said',
    [
        ([KD, RANK], [KD], ': loss_kd (KLDivLoss), loss_rank (KendallRankL'),
        ([KD], [KD, RANK], 'loss_kd (KLDivLoss) until here, loss_kd'),
        ([KD], [KD], None),
    ],
)
def test_other_losses_on_resume(distill_cfg, tmp_path, log, first, then, said):
    """Those that learn nothing have no weights that would be missed."""
    path = train(distill_cfg, first, work_dir=str(tmp_path / 'first'))
    del log[:]
    settings = dict(load_from=path, resume=True)
    train(distill_cfg, then, **{'train_cfg.max_epochs': 2, **settings})
    lines = [x for _, x in log if 'losses are not those' in x]
    assert len(lines) == (said is not None)
    assert all(said in x for x in lines)


def test_weights_of_another_distillation(with_fitnet, distill_cfg, log):
    """Without resume, weights are taken, and what is not needed is said."""
    path = train(distill_cfg, [KD], load_from=with_fitnet)
    assert any('loss_fitnet' in x and 'ignored' in x for _, x in log)
    keys = read_checkpoint(path)['state_dict']
    assert not [k for k in keys if k.startswith('distiller.')]
