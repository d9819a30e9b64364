"""A training that was stopped and resumed is the same to the last bit."""

import random
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch.utils.data import DataLoader, IterableDataset

from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.engine.hooks import ExactResumeHook, exact_resume_hook
from mmdet_rankkd.experiments.cells import compose, read_cells
from mmdet_rankkd.registry import HOOKS

from ...helpers import ROOT, make_runner, save_teacher, small_cls

HOOKS_USED = [
    dict(type='mmdet_rankkd.ExactResumeHook'),
    dict(type='mmdet_rankkd.DrawingHook'),
]
EMA = dict(type='EMAHook', momentum=0.1)
TINY = (4, (4, 8, 8), (1, 1, 1))


@HOOKS.register_module()
class DrawingHook(Hook):
    """Validations that draw random numbers."""

    def after_val_epoch(self, runner, metrics=None):
        torch.rand(1)
        np.random.rand()
        random.random()


@HOOKS.register_module()
class StopHook(Hook):
    """Stop the training after a checkpoint, before the validation."""

    priority = 'LOWEST'

    def __init__(self, epoch):
        self.epoch = epoch

    def after_train_epoch(self, runner):
        if runner.epoch + 1 == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture
def detector(distill_cfg):
    """Distillation of a detector with random flips: 3 iterations an epoch."""
    cfg = distill_cfg
    cfg.train_pipeline.insert(2, dict(type='RandomFlip', prob=0.5))
    cfg.train_dataloader.dataset.pipeline = cfg.train_pipeline
    cfg.model.losses = [
        dict(type='mmdet_rankkd.CTKDLoss', loss_weight=1.0),
        dict(
            type='mmdet_rankkd.KendallRankLoss',
            schedule=dict(warmup=5, by_epoch=False),
        ),
        dict(
            type='mmdet_rankkd.FitNetLoss',
            levels=(0, 1),
            loss_weight=0.1,
            schedule=dict(begin=1),
        ),
    ]
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=4),
        dict(type='MultiStepLR', milestones=[1], gamma=0.5),
    ]
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return with_hook(cfg)


@pytest.fixture
def student(student_cfg):
    """A plain training of MMDetection, which is validated too."""
    cfg = student_cfg
    cfg.train_pipeline.insert(2, dict(type='RandomFlip', prob=0.5))
    cfg.train_dataloader.dataset.pipeline = cfg.train_pipeline
    return with_hook(cfg)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    config = tmp_path_factory.mktemp('teacher') / 'teacher.py'
    network = ROOT / 'configs/cifar100/resnet20_cifar100.py'
    config.write_text(
        f"_base_ = '{network}'\nmodel = dict(backbone=dict(arch={TINY}))"
    )
    checkpoint = config.with_suffix('.pth')
    save_teacher(config, checkpoint, epoch=1)
    return dict(config=str(config), checkpoint=str(checkpoint))


@pytest.fixture
def classifier(cifar, teacher, tmp_path):
    """CTKD and CRD, validated: 3 iterations an epoch."""
    cell = compose(read_cells('cifar100'), 'resnet32x4_resnet8x4', 'kd')
    cfg = small_cls(cell, cifar)
    cfg.work_dir = str(tmp_path / 'work')
    cfg.model.teacher = dict(teacher)
    cfg.model.student.backbone.arch = TINY
    cfg.model.losses = [
        dict(type='mmdet_rankkd.CTKDLoss', loss_weight=0.9, length=2),
        dict(type='mmdet_rankkd.CRDLoss', num_data=12, width=8),
    ]
    cfg.train_dataloader.dataset.indices = 12
    cfg.train_dataloader.dataset = dict(
        type='mmdet_rankkd.ContrastDataset',
        dataset=cfg.train_dataloader.dataset,
        negatives=5,
    )
    cfg.default_hooks.checkpoint.pop('save_best')
    return with_hook(cfg)


def with_hook(cfg):
    """Two epochs, a checkpoint after each iteration."""
    cfg.train_cfg.max_epochs = 2
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=-1
    )
    cfg.custom_hooks = [*cfg.custom_hooks, *HOOKS_USED]
    return cfg


def disturb():
    """What happens to the generators in another process."""
    torch.rand(7)
    np.random.rand(7)
    random.random()


def run(cfg, folder, start=None, **settings):
    """Train in a folder, from a checkpoint if there is one."""
    cfg = Config(cfg.to_dict())
    cfg.work_dir = str(folder)
    if start is not None:
        settings.update(resume=True, load_from=str(start))
    disturb()
    runner = make_runner(cfg, **settings)
    runner.train()
    # Workers that are left to the garbage collection take five seconds to end.
    vars(runner.train_loop).clear()
    return runner


def last(folder):
    """What matters of the last checkpoint in a folder."""
    file = Path((Path(folder) / 'last_checkpoint').read_text())
    saved = dict(read_checkpoint(file))
    saved['meta'] = {k: saved['meta'][k] for k in ('epoch', 'iter', 'seed')}
    info = saved.pop('message_hub')['runtime_info']
    best = ('best_metrics', 'best_score')
    saved['best'] = {k: v for k, v in info.items() if k in best}
    return saved


def assert_same(one, other, where=''):
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f'{where}.{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other)):
            assert_same(*pair, f'{where}.{number}')
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def check(cfg, tmp_path, stops, **settings):
    """Compare a straight training with ones resumed after some iterations."""
    straight = tmp_path / 'straight'
    run(cfg, straight, **settings)
    expected = last(straight)
    assert 'optimizer' in expected and 'exact_resume' in expected
    for stop in stops:
        folder = tmp_path / f'resumed-{stop}'
        run(cfg, folder, straight / f'{stop}.pth', **settings)
        assert_same(last(folder), expected)
    return expected


def by_iteration(*numbers):
    return [f'iter_{x}' for x in numbers]


@pytest.mark.parametrize('ema, accumulate', [(False, 1), (True, 2)])
def test_detector(detector, tmp_path, ema, accumulate):
    """In the middle of an epoch and of an accumulation, and between two."""
    if ema:
        detector.custom_hooks.append(dict(EMA))
    detector.optim_wrapper.accumulative_counts = accumulate
    saved = check(detector, tmp_path, by_iteration(1, 3, 4))
    assert saved['meta']['iter'] == 6
    names = [x for x in saved['state_dict'] if x.startswith('distiller.')]
    assert any('loss_fitnet' in x for x in names)
    assert any('loss_ctkd' in x for x in names)
    assert ('ema_state_dict' in saved) == ema


@pytest.mark.parametrize('ema, accumulate', [(False, 2), (True, 1)])
def test_classifier(classifier, tmp_path, ema, accumulate):
    """CRD's memories, CTKD's temperature and the best accuracy."""
    if ema:
        classifier.custom_hooks.append(dict(EMA))
    classifier.optim_wrapper.accumulative_counts = accumulate
    saved = check(classifier, tmp_path, by_iteration(1, 3, 4))
    memory = 'distiller.loss_crd.student_memory'
    assert memory in saved['state_dict']
    assert saved['best']['best_metrics']


@pytest.mark.parametrize('name', ['classifier', 'student'])
def test_between_two_epochs(name, request, tmp_path):
    """A plain student of MMDetection too."""
    cfg = request.getfixturevalue(name)
    cfg.train_cfg.max_epochs = 3
    cfg.default_hooks.checkpoint.by_epoch = True
    check(cfg, tmp_path, ['epoch_1', 'epoch_2'])


def test_plain_student_within_an_epoch(student, tmp_path):
    saved = check(student, tmp_path, by_iteration(2))
    assert not any('distiller' in x for x in saved['state_dict'])


def test_without_the_hook_it_is_not_the_same(classifier, tmp_path):
    classifier.custom_hooks = classifier.custom_hooks[:-2]
    run(classifier, tmp_path / 'straight')
    start = tmp_path / 'straight/iter_2.pth'
    run(classifier, tmp_path / 'resumed', start)
    one, other = (
        last(tmp_path / x)['state_dict'] for x in ('straight', 'resumed')
    )
    key = 'head.fc.weight'
    assert not torch.equal(one[key], other[key])


@pytest.mark.parametrize('persistent', [False, True])
def test_workers(classifier, tmp_path, persistent):
    """Each batch has the same random numbers, whichever worker makes it."""
    loader = classifier.train_dataloader
    loader.num_workers, loader.persistent_workers = 2, persistent
    expected = check(classifier, tmp_path, by_iteration(2))
    loader.num_workers = 1
    run(classifier, tmp_path / 'one', tmp_path / 'straight/iter_2.pth')
    assert_same(last(tmp_path / 'one')['state_dict'], expected['state_dict'])


@pytest.mark.parametrize('persistent', [False, True])
def test_workers_between_two_epochs(classifier, tmp_path, persistent):
    loader = classifier.train_dataloader
    loader.num_workers, loader.persistent_workers = 1, persistent
    classifier.default_hooks.checkpoint.by_epoch = True
    check(classifier, tmp_path, ['epoch_1'])


@pytest.mark.parametrize(
    'sampler, workers',
    [('InfiniteSampler', 0), ('InfiniteSampler', 1), ('DefaultSampler', 0)],
)
def test_loop_over_iterations(
    classifier, tmp_path, monkeypatch, sampler, workers
):
    """Validated at iterations 2, 4 and 5, by a set of 3 batches."""
    # MMEngine waits two seconds between two passes over the data.
    monkeypatch.setattr(time, 'sleep', lambda seconds: None)
    cfg = classifier
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=5, val_interval=2
    )
    cfg.train_dataloader.sampler.type = sampler
    cfg.train_dataloader.num_workers = workers
    check(cfg, tmp_path, by_iteration(2, 3))


@pytest.mark.parametrize('workers', [0, 1])
def test_sampler_of_two_sources(detector, tmp_path, monkeypatch, workers):
    """As images with and without annotations are drawn in each batch."""
    monkeypatch.setattr(time, 'sleep', lambda seconds: None)
    cfg = detector
    cfg.param_scheduler = []
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=5)
    loader = cfg.train_dataloader
    loader.num_workers, loader.batch_sampler = workers, None
    loader.dataset = dict(type='ConcatDataset', datasets=[loader.dataset] * 2)
    loader.sampler = dict(
        type='mmdet.MultiSourceSampler', batch_size=2, source_ratio=[1, 1]
    )
    check(cfg, tmp_path, by_iteration(3))


def resolutions(cfg):
    """A pipeline of two resolutions, with sizes that are drawn."""
    pipeline = [*cfg.train_pipeline]
    pipeline.insert(
        2, dict(type='RandomResize', scale=(96, 96), ratio_range=(0.8, 1.2))
    )
    cfg.train_dataloader.dataset.pipeline = [
        dict(type='mmdet_rankkd.TwoResolutions', pipeline=pipeline, scale=2)
    ]
    cfg.model.teacher.input_scale = 2


def balance(cfg):
    cfg.custom_hooks.append(
        dict(type='mmdet_rankkd.BalanceHook', steps=2, interval=2)
    )


def adapters(cfg):
    """What features learn, a mask that is drawn, and a loss that ends."""
    cfg.model.losses = [
        dict(type='mmdet_rankkd.MGDLoss', levels=(0, 1, 2, 3)),
        dict(type='mmdet_rankkd.FGDLoss', levels=(0, 1, 2, 3)),
        dict(
            type='mmdet_rankkd.PKDLoss',
            levels=(0,),
            schedule=dict(begin=2, end=5, by_epoch=False),
        ),
    ]


@pytest.mark.parametrize('change', [resolutions, balance, adapters])
def test_other_parts(detector, tmp_path, change):
    """In the middle of an accumulation, with averaged weights."""
    detector.custom_hooks.append(dict(EMA))
    detector.optim_wrapper.accumulative_counts = 2
    change(detector)
    check(detector, tmp_path, by_iteration(3))


def test_without_a_seed(classifier, tmp_path):
    """MMEngine shuffles by a new seed when it resumes."""
    classifier.randomness = dict(seed=None)
    check(classifier, tmp_path, by_iteration(2))


@pytest.mark.parametrize('epoch', [1, 2])
def test_stopped_before_a_validation(classifier, tmp_path, epoch):
    """It is made up for, so that the best value is the same."""
    classifier.default_hooks.checkpoint.by_epoch = True
    straight = run(classifier, tmp_path / 'straight')
    hooks = classifier.custom_hooks
    stop = dict(type='mmdet_rankkd.StopHook', epoch=epoch)
    classifier.custom_hooks = [*hooks, stop]
    with pytest.raises(KeyboardInterrupt):
        run(classifier, tmp_path / 'stopped')
    classifier.custom_hooks = hooks
    start = tmp_path / f'stopped/epoch_{epoch}.pth'
    resumed = run(classifier, tmp_path / 'stopped', start)
    assert_same(last(tmp_path / 'stopped'), last(tmp_path / 'straight'))
    for runner in (straight, resumed):
        hub = runner.message_hub
        accuracies = hub.get_scalar('val/accuracy/top1').data[0]
        assert len(accuracies) == 2
        best = hub.get_info('best_metrics')
        assert best == {**best, 'accuracy/top1': max(accuracies)}


def test_no_image_is_read_for_nothing(student, tmp_path, monkeypatch):
    run(student, tmp_path / 'straight')
    from mmcv.transforms import LoadImageFromFile

    read = []
    load = LoadImageFromFile.transform

    def count(self, results):
        read.append(results['img_path'])
        return load(self, results)

    monkeypatch.setattr(LoadImageFromFile, 'transform', count)
    student.val_cfg = student.val_dataloader = student.val_evaluator = None
    run(student, tmp_path / 'resumed', tmp_path / 'straight/iter_5.pth')
    assert len(read) == 2


def test_the_best_checkpoint_stays_small(classifier, tmp_path):
    classifier.default_hooks.checkpoint.save_best = 'accuracy/top1'
    check(classifier, tmp_path, by_iteration(2, 3))
    (best,) = (tmp_path / 'straight').glob('best*.pth')
    assert 'exact_resume' not in read_checkpoint(best)


def test_checkpoint_without_the_hook(classifier, tmp_path):
    hooks = classifier.custom_hooks
    classifier.custom_hooks = []
    run(classifier, tmp_path / 'straight')
    classifier.custom_hooks = hooks
    start = tmp_path / 'straight/iter_2.pth'
    run(classifier, tmp_path / 'resumed', start)
    logs = [x.read_text() for x in (tmp_path / 'resumed').glob('*/*.log')]
    assert 'written without this hook; resuming is not exact' in logs[0]


def test_another_number_of_processes(classifier, tmp_path):
    run(classifier, tmp_path / 'straight')
    saved = torch.load(tmp_path / 'straight/iter_2.pth', weights_only=True)
    saved['exact_resume']['random'] *= 2
    torch.save(saved, tmp_path / 'two.pth')
    run(classifier, tmp_path / 'resumed', tmp_path / 'two.pth')
    (log,) = (tmp_path / 'resumed').glob('*/*.log')
    assert 'the state of 2 processes, and there are 1' in log.read_text()


class Stream(IterableDataset):
    """Data without indices."""

    def __iter__(self):
        return iter(range(4))


@pytest.mark.parametrize(
    'loader', [DataLoader(Stream()), DataLoader([1, 2], batch_size=None)]
)
def test_data_without_batches_of_indices(loader, monkeypatch):
    runner = SimpleNamespace(
        train_dataloader=loader, train_loop=None, iter=0, seed=0
    )
    said = []
    monkeypatch.setattr(exact_resume_hook, 'warn', said.append)
    hook = ExactResumeHook()
    hook.before_train(runner)
    assert said == ['the training set is not read by batches of indices']
    checkpoint = dict(optimizer={})
    hook.before_save_checkpoint(runner, checkpoint)
    assert 'exact_resume' not in checkpoint


def test_it_changes_nothing_of_a_training_without_validation(
    detector, tmp_path
):
    run(detector, tmp_path / 'with')
    detector.custom_hooks = []
    run(detector, tmp_path / 'without')
    one, other = (
        last(tmp_path / x)['state_dict'] for x in ('with', 'without')
    )
    assert_same(one, other)
