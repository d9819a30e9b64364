"""The configs of detection methods train two steps on real images."""

import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.checkpoint.build import load_config

from .helpers import COCO_SAMPLE, ROOT, build, make_runner

CONFIGS = [
    *sorted((ROOT / 'configs/coco_detection_kd').glob('*.py')),
    *sorted((ROOT / 'configs/coco_resolution').glob('rankkd_*.py')),
]


def made_small(config, path):
    """Shallow backbones and few RoIs, and a teacher of random weights."""
    teacher = load_config(config.model.teacher.config).model
    for model in (config.model.student, teacher):
        backbone = model.backbone
        backbone.init_cfg = None
        if 'depth' in backbone:
            backbone.update(type='ResNet', depth=18)
            for name in ('groups', 'base_width'):
                backbone.pop(name, None)
            model.neck.in_channels = [64, 128, 256, 512]
        if 'roi_head' in model:
            model.roi_head.bbox_head.fc_out_channels = 32
            model.train_cfg.rcnn.sampler.num = 16
            model.train_cfg.rpn_proposal.nms_pre = 100
        without_sync(model)
    torch.manual_seed(1)
    torch.save(dict(state_dict=build(teacher).state_dict()), path)
    config.model.teacher.config = dict(model=teacher)
    config.model.teacher.checkpoint = str(path)


def made_small_images(pipeline):
    """Both resolutions of the config's own pipeline, a tenth of the area."""
    resizes = [x for x in pipeline[0].pipeline if x.type == 'Resize']
    if 'teacher' in pipeline[0]:
        resizes.append(pipeline[0].teacher)
    for resize in resizes:
        width, height = resize.scale
        resize.scale = (width // 3, height // 3)
    return pipeline


def without_sync(config):
    """BN in place of SyncBN, which has no form for the CPU."""
    for key, value in config.items():
        if isinstance(value, dict):
            without_sync(value)
        elif key == 'type' and value == 'SyncBN':
            config[key] = 'BN'


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
@pytest.mark.skipif(
    not COCO_SAMPLE.is_dir(), reason='no sample of COCO (set TINY_COCO)'
)
def test_two_steps(path, tmp_path):
    """On real images, made small, by the Runner."""
    cfg = Config.fromfile(path)
    made_small(cfg, tmp_path / 'teacher.pth')
    masks = 'mask' in path.stem
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=masks),
        dict(type='Resize', scale=(96, 96), keep_ratio=False),
        dict(type='PackDetInputs'),
    ]
    if path.parent.name == 'coco_resolution':
        pipeline = made_small_images(cfg.train_dataloader.dataset.pipeline)
    dataset = dict(
        type='CocoDataset',
        data_root=str(COCO_SAMPLE),
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=pipeline,
    )
    cfg.train_dataloader = dict(
        batch_size=2,
        dataset=dataset,
        sampler=dict(type='InfiniteSampler', shuffle=False),
    )
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.custom_hooks = cfg.param_scheduler = []
    cfg.default_hooks = dict(
        checkpoint=None, logger=dict(type='LoggerHook', interval=1)
    )
    runner = make_runner(
        cfg,
        work_dir=str(tmp_path),
        log_level='WARNING',
        env_cfg=dict(dist_cfg=dict(backend='gloo'), cudnn_benchmark=False),
        log_processor=dict(by_epoch=False),
    )
    learnt = dict(runner.model.losses.named_parameters())
    before = {k: v.detach().clone() for k, v in learnt.items()}
    runner.train()
    scalars = runner.message_hub.log_scalars
    for name in runner.model.losses:
        values, _ = scalars[f'train/{name}'].data
        # Minus a tau goes down to -1.
        low = -1 if name == 'loss_rank' else 0
        assert len(values) == 2 and all(low < v < 1e6 for v in values), name
        assert all(values != 0), name
    assert all(x.isfinite().all() for x in learnt.values())
    moved = [not torch.equal(x, before[name]) for name, x in learnt.items()]
    assert any(moved) or not learnt
    # Adapters where the widths differ, and only there.
    adapters = any('.adapters.' in name for name in learnt)
    assert adapters == ('rtmdet' in path.stem)
