"""Killed at any moment, a training keeps an intact checkpoint."""

import itertools
import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.checkpoint.latest import instead_of_damaged
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.checkpoint.student import student_config
from mmdet_rankkd.engine.launch import add_safe_hooks

from ...helpers import ROOT, make_runner

CONFIG = ROOT / 'configs/digits_cls/resnet8_digits-cls.py'
SETTINGS = {
    'train_dataloader.dataset.count': 12,
    'train_dataloader.batch_size': 4,
    'val_dataloader.dataset.count': 8,
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 1,
    'log_level': 'WARNING',
    'randomness.seed': 0,
    'env_cfg.dist_cfg.backend': 'gloo',
}


class Killed(BaseException):
    """In place of a kill: nothing may be done about it."""


@pytest.fixture
def cfg(tmp_path):
    """A classifier of 3 steps an epoch; only its newest checkpoint stays."""
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(SETTINGS)
    cfg.work_dir = str(tmp_path / 'work')
    cfg.custom_hooks = [dict(type='mmdet_rankkd.ExactResumeHook')]
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1
    )
    add_safe_hooks(cfg)
    return cfg


def names(cfg):
    """All files of checkpoints, those that were being written too."""
    folder = Path(cfg.work_dir)
    return sorted(x.name for x in folder.glob('*') if '.pth' in x.name)


def resume(cfg, **settings):
    cfg = Config(cfg.to_dict())
    cfg.resume, cfg.load_from = True, instead_of_damaged(cfg.work_dir)
    runner = make_runner(cfg, **settings)
    runner.train()
    return runner


@pytest.fixture(scope='module')
def undisturbed():
    """Weights at the end, kept by the first test that needs them."""
    return {}


def expected(cfg, kept):
    if not kept:
        other = Config(cfg.to_dict())
        other.work_dir = cfg.work_dir + '-undisturbed'
        make_runner(other).train()
        (file,) = Path(other.work_dir).glob('*.pth')
        assert file.name == 'iter_6.pth'
        kept.update(read_checkpoint(file)['state_dict'])
    return kept


def kill_at(monkeypatch, name, when):
    """Have a function of the system die at its call of some number."""
    calls = []
    function = getattr(os, name)

    def dying(*args, **kwargs):
        calls.append(args)
        if len(calls) == when:
            raise Killed
        return function(*args, **kwargs)

    monkeypatch.setattr(os, name, dying)


@pytest.mark.parametrize(
    'name, kept',
    [
        # Half written; whole, but not in its place; the older one not removed.
        ('fsync', ['.iter_3.pth.partial', 'iter_2.pth']),
        ('replace', ['.iter_3.pth.partial', 'iter_2.pth']),
        ('remove', ['iter_2.pth', 'iter_3.pth']),
    ],
)
def test_killed_while_a_checkpoint_is_written(
    cfg, undisturbed, monkeypatch, name, kept
):
    weights = expected(cfg, undisturbed)
    with monkeypatch.context() as patch:
        # Two syncs a file: the content, and the folder's list of names.
        kill_at(patch, name, dict(fsync=5, replace=3, remove=2)[name])
        with pytest.raises(Killed):
            make_runner(cfg).train()
    assert names(cfg) == kept
    resume(cfg)
    assert names(cfg) == ['iter_6.pth']
    found = read_checkpoint(Path(cfg.work_dir) / 'iter_6.pth')['state_dict']
    assert all(torch.equal(found[k], x) for k, x in weights.items())


def test_mmengine_is_left_without_any(cfg, monkeypatch):
    """What this hook is for: else the test above would show nothing."""
    cfg.default_hooks.checkpoint.type = 'CheckpointHook'
    with monkeypatch.context() as patch:
        function = torch.save
        calls = []

        def dying(*args, **kwargs):
            calls.append(args)
            if len(calls) == 3:
                raise Killed
            function(*args, **kwargs)

        patch.setattr(torch, 'save', dying)
        with pytest.raises(Killed):
            make_runner(cfg).train()
    assert names(cfg) == []


def test_killed_while_the_newest_is_noted(cfg, undisturbed):
    """An empty note; the newest of the checkpoints is taken."""
    weights = expected(cfg, undisturbed)
    make_runner(cfg, train_cfg=dict(max_epochs=1)).train()
    (Path(cfg.work_dir) / 'last_checkpoint').write_text('')
    resume(cfg)
    found = read_checkpoint(Path(cfg.work_dir) / 'iter_6.pth')['state_dict']
    assert all(torch.equal(found[k], x) for k, x in weights.items())


def test_killed_before_the_first_is_noted(cfg, undisturbed, monkeypatch):
    """One checkpoint and no note: it is gone on from that."""
    weights = expected(cfg, undisturbed)

    def dying(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        # Whole and in its place; the folder's list of names is not synced.
        patch.setattr('mmdet_rankkd.checkpoint.write.sync_folder', dying)
        with pytest.raises(Killed):
            make_runner(cfg).train()
    assert names(cfg) == ['iter_1.pth']
    assert not (Path(cfg.work_dir) / 'last_checkpoint').exists()
    first = Path(cfg.work_dir) / 'iter_1.pth'
    assert instead_of_damaged(cfg.work_dir) == str(first)
    resume(cfg)
    found = read_checkpoint(Path(cfg.work_dir) / 'iter_6.pth')['state_dict']
    assert all(torch.equal(found[k], x) for k, x in weights.items())


def test_the_best_one_is_replaced_by_a_whole_one(cfg, monkeypatch):
    saving = cfg.default_hooks.checkpoint
    saving.update(by_epoch=True, save_best='accuracy/top1', rule='greater')
    scores = itertools.count()
    monkeypatch.setattr(
        'mmdet_rankkd.evaluation.TopKAccuracy.compute_metrics',
        lambda *_: dict(top1=float(next(scores))),
    )
    best = 'best_accuracy_top1_epoch_{}.pth'.format
    with monkeypatch.context() as patch:
        # Epochs 1 (twice) and 2 (once), then the best of epoch 2.
        kill_at(patch, 'replace', 5)
        with pytest.raises(Killed):
            make_runner(cfg).train()
    assert best(1) in names(cfg) and best(2) not in names(cfg)
    read_checkpoint(Path(cfg.work_dir) / best(1))
    resume(cfg)
    assert names(cfg) == [best(2), 'epoch_2.pth']
    # Killed before the older one was removed: that is made up for.
    cfg.train_cfg.max_epochs = 3
    with monkeypatch.context() as patch:
        kill_at(patch, 'remove', 2)
        with pytest.raises(Killed):
            resume(cfg)
    assert best(2) in names(cfg) and best(3) in names(cfg)
    resume(cfg)
    assert names(cfg) == [best(3), 'epoch_3.pth']


@pytest.fixture
def small_files():
    """Function that lets this process write files of so many bytes only."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    action = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(
        resource.RLIMIT_FSIZE, (size, before[1])
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, action)


def test_no_room_for_a_checkpoint(cfg, small_files):
    make_runner(cfg, train_cfg=dict(max_epochs=1)).train()
    file = Path(cfg.work_dir) / 'iter_3.pth'
    before = file.read_bytes()
    small_files(len(before) // 2)
    with pytest.raises(OSError) as caught:
        resume(cfg)
    message = str(caught.value)
    assert 'iter_4.pth cannot be written: File too large' in message
    assert 'bytes, and' in message and 'are free there. Make room' in message
    assert names(cfg) == ['iter_3.pth']
    assert file.read_bytes() == before


def test_a_full_disk(tmp_path, monkeypatch, cfg):
    from mmdet_rankkd.checkpoint.write import write_whole

    write_whole(tmp_path / 'a', b'older')

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='a cannot be written: No space left'):
        write_whole(tmp_path / 'a', b'newer')
    assert (tmp_path / 'a').read_bytes() == b'older'
    assert [x.name for x in tmp_path.glob('*')] == ['a']


def test_which_trainings_have_it(cfg):
    kind = 'mmdet_rankkd.AtomicCheckpointHook'
    assert cfg.default_hooks.checkpoint.type == kind
    assert cfg.default_hooks.finite.type == 'mmdet_rankkd.NonFiniteHook'
    assert cfg.default_hooks.data.type == 'mmdet_rankkd.DataCheckHook'
    off = dict(data=None, finite=None, checkpoint=None)
    plain = Config(dict(default_hooks=off))
    add_safe_hooks(plain)
    assert plain.default_hooks == off
    own = Config(dict(default_hooks=dict(checkpoint=dict(type='Mine'))))
    add_safe_hooks(own)
    assert own.default_hooks.checkpoint == dict(type='Mine')
    bare = Config({})
    add_safe_hooks(bare)
    assert bare.default_hooks.checkpoint == dict(type=kind)


def test_the_exported_config_has_that_of_mmengine(cfg):
    hooks = student_config(cfg).default_hooks
    assert hooks.checkpoint == dict(
        type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1
    )
    assert 'finite' not in hooks
    assert cfg.default_hooks.checkpoint.type.startswith('mmdet_rankkd')


def test_another_backend_is_left_alone():
    from mmdet_rankkd.engine.hooks import AtomicCheckpointHook

    own = dict(backend='local')
    assert AtomicCheckpointHook(backend_args=own).backend_args == own
    assert AtomicCheckpointHook(out_dir='s3://x').backend_args is None
