"""The COCO configs on 50 + 50 real images, by MMDetection's own scripts."""

import os
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.checkpoint.export import export_student

from ..helpers import COCO_SAMPLE, ROOT, build

SCRIPTS = Path(mmdet.__file__).parent / '.mim/tools'
NAME = 'rankkd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_1x_coco.py'

pytestmark = pytest.mark.skipif(
    not COCO_SAMPLE.is_dir(),
    reason=f'no sample of COCO at {COCO_SAMPLE} (set TINY_COCO)',
)


def options(folder, student):
    """Data root and schedule; no weights can be downloaded here."""
    settings = {
        f'{student}.backbone.init_cfg': None,
        'train_cfg._delete_': True,
        'train_cfg.type': 'IterBasedTrainLoop',
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 100,
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.interval': 2,
        'default_hooks.logger.interval': 1,
        'log_processor.by_epoch': False,
        # Images of full size take a CPU seconds each.
        'train_dataloader.dataset.pipeline.2.scale': '(333,200)',
        'val_dataloader.dataset.pipeline.1.scale': '(333,200)',
        'test_dataloader.dataset.pipeline.1.scale': '(333,200)',
        'val_dataloader.dataset.indices': 1,
        'test_dataloader.dataset.indices': 2,
        'train_dataloader.batch_size': 1,
    }
    for split in ('train', 'val', 'test'):
        settings[f'{split}_dataloader.dataset.data_root'] = f'{COCO_SAMPLE}/'
        settings[f'{split}_dataloader.num_workers'] = 0
        settings[f'{split}_dataloader.persistent_workers'] = False
    for split in ('val', 'test'):
        settings[f'{split}_evaluator.ann_file'] = str(
            COCO_SAMPLE / 'annotations/instances_val2017.json'
        )
    return [f'{k}={v}' for k, v in settings.items()]


@pytest.mark.parametrize('scripts', ['mmdet', 'ours'])
def test_train_and_test(tmp_path, scripts):
    folder = SCRIPTS if scripts == 'mmdet' else ROOT / 'tools'
    if not (folder / 'train.py').is_file():
        pytest.skip('this distribution of mmdet comes without its scripts')
    if scripts == 'ours' and (SCRIPTS / 'train.py').is_file():
        pytest.skip("MMDetection's own scripts are tested instead")
    config = ROOT / 'configs/coco' / NAME
    cfg = Config.fromfile(config)
    torch.manual_seed(0)
    teacher = build(load_config(cfg.model.teacher.config).model)
    torch.save(dict(state_dict=teacher.state_dict()), tmp_path / 'r50.pth')

    def run(script, *args):
        done = subprocess.run(
            [sys.executable, str(folder / script), *map(str, args)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=dict(os.environ, OMP_NUM_THREADS='2'),
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    log = run(
        'train.py',
        config,
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        f'model.teacher.checkpoint={tmp_path / "r50.pth"}',
        *options(tmp_path, 'model.student'),
    )
    for name in ('loss_kd', 'loss_rank', 'kendall_tau'):
        assert f'{name}: ' in log
    # Without this package, mmengine 0.10.7 does not open its own training
    # checkpoints on torch >= 2.6; what is exported it does.
    export_student(tmp_path / 'work/iter_2.pth', tmp_path / 'student.pth')
    plain = ROOT / 'configs/coco/faster-rcnn_mobilenet-v2_fpn_1x_coco.py'
    log = run(
        'test.py',
        plain,
        tmp_path / 'student.pth',
        '--work-dir',
        tmp_path / 'test',
        '--cfg-options',
        *options(tmp_path, 'model'),
        # Untrained, it is sure of nothing.
        'model.test_cfg.rcnn.score_thr=0.0',
    )
    assert 'coco/bbox_mAP' in log
    assert 'coco/person_precision' in log  # classwise
