"""PKD, CWD, MGD and FGD on the levels of a detector's neck."""

from pathlib import Path

import pytest
import torch

from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.checkpoint.read import read_checkpoint

from ..helpers import build, make_runner, raw_batch
from ..programs import run_two_processes

LEVELS = (0, 1, 2, 3)
LOSSES = [
    dict(type='mmdet_rankkd.PKDLoss', levels=LEVELS),
    dict(type='mmdet_rankkd.CWDLoss', levels=LEVELS),
    dict(type='mmdet_rankkd.MGDLoss', levels=LEVELS),
    dict(type='mmdet_rankkd.FGDLoss', levels=LEVELS),
    dict(type='mmdet_rankkd.KendallRankLoss'),
]
NAMES = ('loss_pkd', 'loss_cwd', 'loss_mgd', 'loss_fgd')


@pytest.fixture
def config(distill_cfg):
    """Function: the user's config with all four, and another teacher."""

    def make(channels=None):
        cfg = distill_cfg
        cfg.model.losses = LOSSES
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        if channels:
            neck = cfg.model.student.neck
            neck.out_channels = channels
            cfg.model.student.rpn_head.in_channels = channels
            head = cfg.model.student.roi_head
            head.bbox_roi_extractor.out_channels = channels
            head.bbox_head.in_channels = channels
        return cfg

    return make


@pytest.mark.parametrize('channels', [None, 24])
def test_trained_resumed_and_not_exported(config, channels, student_cfg):
    """Adapters where channels differ; the student's file is plain."""
    cfg = config(channels)
    runner = make_runner(cfg)
    before = {
        k: v.clone() for k, v in runner.model.losses.state_dict().items()
    }
    runner.train()
    after = runner.model.losses.state_dict()
    for name in NAMES:
        adapters = [k for k in after if k.startswith(f'{name}.adapters')]
        assert len(adapters) == (8 if channels else 0), name
    for key, value in after.items():
        assert value.isfinite().all()
        assert not torch.equal(value, before[key]), key
    path = str(Path(cfg.work_dir) / 'epoch_1.pth')
    saved = read_checkpoint(path)['state_dict']
    kept = {k for k in saved if k.startswith('distiller.')}
    assert kept == {f'distiller.{k}' for k in after}
    out = Path(cfg.work_dir) / 'student.pth'
    export_student(path, str(out))
    plain = build(cfg.model.student)
    weights = torch.load(out, weights_only=True)['state_dict']
    plain.load_state_dict(weights, strict=True)
    cfg.load_from, cfg.resume = path, True
    again = make_runner(cfg)
    again.load_or_resume()
    for key, value in again.model.losses.state_dict().items():
        assert torch.equal(value, after[key]), key


def test_masks_move_the_numbers_of_the_training_alone(config):
    """MGD draws from them while it is on, and nothing else does."""
    cfg = config()
    drawn = {}
    for name, losses in (
        ('none', LOSSES[-1:]),
        ('mgd', LOSSES[2:3]),
        ('others', [LOSSES[i] for i in (0, 1, 3)]),
        ('off', [dict(LOSSES[2], schedule=dict(begin=99))]),
    ):
        cfg.model.losses = losses
        torch.manual_seed(0)
        model = build(cfg.model).train()
        for loss in model.losses.values():
            loss.set_progress(0, 0)
        data = model.data_preprocessor(raw_batch(), True)
        model.prepare()
        torch.manual_seed(0)
        model(**data, mode='loss')
        drawn[name] = torch.rand(1).item()
    assert drawn['others'] == drawn['off'] == drawn['none']
    assert drawn['mgd'] != drawn['none']


DDP_SCRIPT = """
import sys, torch
from mmengine.config import Config
from mmengine.runner import Runner
import tests.helpers  # one thread, and quick to start
torch.cuda.set_device = lambda *_: None  # MMEngine assumes a GPU here
cfg = Config.fromfile(sys.argv[1])
cfg.launcher = 'pytorch'
cfg.model_wrapper_cfg = dict(
    type='MMDistributedDataParallel', device_ids=None,
    find_unused_parameters=False)
runner = Runner.from_cfg(cfg)
runner.train()
weights = torch.cat([
    x.detach().flatten() for x in runner.model.module.losses.parameters()])
others = [torch.zeros_like(weights) for _ in range(2)]
torch.distributed.all_gather(others, weights)
assert len(weights) and torch.equal(*others)
"""


def test_two_processes(config, tmp_path):
    """What is learnt stays equal in both."""
    config(24).dump(tmp_path / 'config.py')
    run_two_processes(DDP_SCRIPT, tmp_path / 'config.py')
