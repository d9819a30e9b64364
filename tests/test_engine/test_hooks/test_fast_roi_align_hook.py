"""RoIAlign layers by matrix products, in whole trainings."""

import pytest
import torch
from mmcv.ops import RoIAlign
from torch import nn

from mmdet_rankkd.engine.pooling import pool_fast

from ...helpers import build, make_runner, raw_batch

HOOK = dict(type='mmdet_rankkd.FastRoIAlignHook')


def gradients(cfg, fast):
    """Losses and gradients of a step, the teacher's weights at random."""
    torch.manual_seed(0)
    model = build(cfg.model).train()
    model.prepare()
    if fast:
        assert pool_fast(model.student) == pool_fast(model.teacher.model) == 4
    losses = model(**model.data_preprocessor(raw_batch(), True), mode='loss')
    model.parse_losses(losses)[0].backward()
    found = {k: p.grad for k, p in model.student.named_parameters()}
    return losses, {k: x for k, x in found.items() if x is not None}


def test_same_step(distill_cfg, monkeypatch):
    """But for rounding, student and teacher, without a call of mmcv's."""
    expected, first = gradients(distill_cfg, False)
    monkeypatch.setattr(RoIAlign, 'forward', None)
    losses, second = gradients(distill_cfg, True)
    for name in ('loss_cls', 'loss_bbox', 'loss_kd', 'loss_rank'):
        assert losses[name].item() == pytest.approx(
            expected[name].item(), rel=1e-5
        )
    assert list(first) == list(second)
    for name, grad in first.items():
        error = (second[name] - grad).norm()
        # Some of the norms' gradients are nothing but rounding.
        assert error <= 1e-5 * grad.norm() + 5e-6, name


def test_training(distill_cfg, monkeypatch):
    """With its validation; the teacher is not forgotten."""
    monkeypatch.setattr(RoIAlign, 'forward', None)
    distill_cfg.custom_hooks = [HOOK]
    runner = make_runner(distill_cfg)
    runner.train()
    assert runner.message_hub.get_scalar('train/loss_kd').current() > 0
    assert runner.message_hub.get_scalar('val/coco/bbox_mAP').current() >= 0


def test_tests_without_a_training(distill_cfg, monkeypatch):
    """And no teacher is asked for."""
    cfg = distill_cfg
    cfg.model.teacher.checkpoint = 'nowhere.pth'
    cfg.test_dataloader, cfg.test_cfg = cfg.val_dataloader, dict()
    cfg.test_evaluator = cfg.val_evaluator
    cfg.custom_hooks = [HOOK]
    monkeypatch.setattr(RoIAlign, 'forward', None)
    assert make_runner(cfg).test()


def test_a_detector_without(distill_cfg):
    distill_cfg.custom_hooks = [HOOK]
    runner = make_runner(distill_cfg)
    runner.model.student.roi_head.bbox_roi_extractor.roi_layers = (
        nn.ModuleList()
    )
    with pytest.raises(
        ValueError, match='has no RoIAlign layer that averages'
    ):
        runner.train()
