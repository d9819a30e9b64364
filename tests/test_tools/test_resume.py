"""`--resume` of the tools: a damaged checkpoint, and several processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.cli.train import train

from ..helpers import ROOT
from ..programs import free_port, run_two_processes

TRAIN = ROOT / 'tools/train.py'
SETTINGS = """
_base_ = '{config}'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=2)
custom_hooks = [dict(type='mmdet_rankkd.ExactResumeHook')]
default_hooks = dict(checkpoint=dict(
    type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=-1))
env_cfg = dict(dist_cfg=dict(backend='nccl'))  # as in MMDetection's configs
"""


@pytest.fixture
def config(project, tmp_path):
    """A user's distillation with the hook."""
    path = tmp_path / 'exact.py'
    path.write_text(SETTINGS.format(config=project / 'distill.py'))
    return path


def run(*command, cwd):
    folders = [str(Path(sys.executable).parent), os.environ['PATH']]
    env = dict(
        os.environ,
        PATH=os.pathsep.join(folders),
        PORT=free_port(),
        PYTHONPATH=str(ROOT),
        CUDA_VISIBLE_DEVICES='',
    )
    done = subprocess.run(
        [str(x) for x in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=env,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def train_by_two(config, work):
    tool = ROOT / 'tools/dist_train.sh'
    return run('bash', tool, config, '2', '--work-dir', work, cwd=work.parent)


def weights(file):
    return read_checkpoint(file)['state_dict']


def assert_equal(one, other):
    assert list(one) == list(other)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def test_a_damaged_checkpoint_is_passed_over(config, tmp_path, capsys):
    work = tmp_path / 'work'
    command = [str(config), '--work-dir', str(work), '--cfg-options']
    train.main([*command, 'experiment_name=straight'], standalone_mode=False)
    newest = work / 'iter_6.pth'
    expected = weights(newest)
    newest.write_bytes(newest.read_bytes()[:-1000])
    capsys.readouterr()
    train.main(
        [*command, 'experiment_name=resumed', '--resume'],
        standalone_mode=False,
    )
    said = capsys.readouterr().out
    assert 'iter_6.pth' in said and 'is cut off' in said
    assert f'Resuming from the one before it, {work / "iter_5.pth"}' in said
    assert_equal(weights(newest), expected)


def test_two_processes_without_a_gpu(config, tmp_path):
    """Two batches an epoch each; resumed within the first."""
    straight, resumed = tmp_path / 'straight', tmp_path / 'resumed'
    train_by_two(config, straight)
    expected = weights(straight / 'iter_4.pth')
    assert not (straight / 'iter_5.pth').exists()
    start = straight / 'iter_1.pth'
    states = read_checkpoint(start)['exact_resume']['random']
    assert len(states) == 2
    assert not torch.equal(*(x['torch'] for x in states))
    words = [config, '--work-dir', resumed, '--launcher', 'pytorch']
    without_gpu = dict(CUDA_VISIBLE_DEVICES='')
    run_two_processes(TRAIN, *words, '--resume', start, env=without_gpu)
    assert_equal(weights(resumed / 'iter_4.pth'), expected)
