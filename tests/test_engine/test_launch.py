"""What stops a training before its first step says what to do."""

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdet_rankkd.engine.launch import train, use_tta
from mmdet_rankkd.registry import TRANSFORMS

from ..helpers import ROOT


def test_initial_weights_that_cannot_be_downloaded(student_cfg):
    """Nobody listens at that port."""
    student_cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='http://127.0.0.1:9/x.pth'
    )
    with pytest.raises(ValueError, match='cannot be downloaded.*refused'):
        train(student_cfg)


def test_flips_of_the_students_image_alone():
    """Of a pipeline of two resolutions, in test-time augmentation."""
    name = 'coco_resolution/rankkd_gfl_r50-1280_gfl_mobilenet-v2-640_fpn_1x'
    cfg = Config.fromfile(ROOT / f'configs/{name}_coco.py')
    use_tta(cfg)
    assert 'TwoResolutions' not in str(cfg.tta_pipeline)
    assert cfg.test_dataloader.dataset.pipeline == cfg.tta_pipeline
    steps = [
        x
        for x in cfg.tta_pipeline
        if x['type'] not in ('LoadImageFromFile', 'LoadAnnotations')
    ]
    with DefaultScope.overwrite_default_scope('mmdet'):
        steps = [TRANSFORMS.build(x) for x in steps]
    found = dict(
        img=np.zeros((48, 64, 3), np.uint8),
        img_id=0,
        img_path='a.png',
        ori_shape=(48, 64),
    )
    for step in steps:
        found = step(found)
    assert [x.flip for x in found['data_samples']] == [True, False]
    # Within 640 x 384, the student's.
    assert {tuple(x.shape) for x in found['inputs']} == {(3, 384, 512)}
