"""Every logit loss on RoI logits, schedules, and what CTKD learns."""

import re
from pathlib import Path

import pytest
import torch

from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.checkpoint.read import read_checkpoint

from ..helpers import build, make_runner, raw_batch


def losses(*names, **settings):
    return [dict(type=f'mmdet_rankkd.{name}', **settings) for name in names]


def make_untested(cfg, **settings):
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_cfg.max_epochs = 3
    return make_runner(cfg, **settings)


def train(cfg, **settings):
    runner = make_untested(cfg, **settings)
    runner.train()
    return runner


@pytest.mark.parametrize(
    'name', ['DKDLoss', 'NKDLoss', 'CTKDLoss', 'KLDivLoss']
)
def test_on_roi_logits(distill_cfg, name):
    distill_cfg.model.losses = losses(name, 'KendallRankLoss')
    model = build(distill_cfg.model).train()
    data = model.data_preprocessor(raw_batch(), True)
    result = model(**data, mode='loss')
    model.parse_losses(result)[0].backward()
    (own,) = [x for x in model.losses if x != 'loss_rank']
    assert result[own].item() > 0
    assert model.student.roi_head.bbox_head.fc_cls.weight.grad.isfinite().all()


def test_a_loss_of_batches_is_refused_on_rois(distill_cfg):
    distill_cfg.model.losses = losses('DISTLoss')
    model = build(distill_cfg.model).train()
    data = model.data_preprocessor(raw_batch(), True)
    with pytest.raises(ValueError, match='not for RoI logits'):
        model(**data, mode='loss')


def seen_by_the_teacher(runner):
    """Epoch and iteration of each of its replays in a training."""
    teacher, seen = runner.model.teacher, []
    replay = teacher.replay

    def note(*args):
        seen.append((runner.epoch, runner.iter))
        return replay(*args)

    teacher.replay = note
    runner.train()
    return seen


def test_schedules_follow_the_epochs(distill_cfg):
    """KD in epoch 2 only: else the teacher sees the first batch alone."""
    distill_cfg.model.losses = losses(
        'KLDivLoss', schedule=dict(begin=1, end=2)
    )
    runner = make_untested(distill_cfg)
    epochs = [epoch for epoch, _ in seen_by_the_teacher(runner)]
    assert epochs == [0] + [1] * len(runner.train_dataloader)
    assert runner.model.active_losses() == {}


def test_teacher_sees_the_first_batch_and_no_more(distill_cfg):
    distill_cfg.model.losses = losses(
        'KLDivLoss', 'KendallRankLoss', schedule=dict(begin=7)
    )
    runner = make_untested(distill_cfg)
    assert seen_by_the_teacher(runner) == [(0, 0)]


def test_ctkd_learns_saves_resumes_and_is_not_exported(distill_cfg, tmp_path):
    distill_cfg.model.losses = losses('CTKDLoss', length=2)
    runner = train(distill_cfg)
    loss = runner.model.losses['loss_ctkd']
    assert loss.reversal == -1
    theta = loss.theta.item()
    assert theta != 1
    path = Path(distill_cfg.work_dir) / 'epoch_3.pth'
    weights = read_checkpoint(str(path))['state_dict']
    assert weights['distiller.loss_ctkd.theta'].item() == theta

    # Resumed after the first epoch it goes on from what it was then.
    first = Path(distill_cfg.work_dir) / 'epoch_1.pth'
    saved = read_checkpoint(str(first))['state_dict']
    distill_cfg.work_dir = str(tmp_path / 'resumed')
    resumed = make_runner(distill_cfg, load_from=str(first), resume=True)
    resumed.load_or_resume()
    ours = resumed.model.losses['loss_ctkd'].theta.item()
    assert ours == saved['distiller.loss_ctkd.theta'].item()
    assert theta < ours < 1
    resumed.train()
    assert resumed.epoch == 3
    assert resumed.model.losses['loss_ctkd'].theta.item() < ours

    out = tmp_path / 'student.pth'
    export_student(str(path), str(out))
    keys = torch.load(out, weights_only=True)['state_dict']
    assert not [k for k in keys if re.search('ctkd|distiller', k)]
