"""Checkpoints of trainings, as a runner leaves them, of every kind."""

import pytest
import torch
from mmengine.config import Config

from ..helpers import CLASSES, write_coco_set
from ..setups import SETUPS, build_model, seed_weights

TEST_SET = """
default_scope = 'mmdet'
test_dataloader = dict(
    dataset=dict(
        type='CocoDataset',
        data_root='{data}/',
        ann_file='train.json',
        data_prefix=dict(img='img/'),
        metainfo=dict(classes=('bolt', 'nut', 'washer')),
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(128, 96), keep_ratio=True),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs', meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape',
                'scale_factor'))]))
"""


@pytest.fixture(scope='session')
def coco_set(tmp_path_factory):
    """Folder with images of two shapes, and their annotations."""
    folder = tmp_path_factory.mktemp('coco')
    write_coco_set(folder / 'data')
    return folder / 'data'


@pytest.fixture
def save(coco_set, tmp_path):
    """Write the checkpoint of a set-up; return its path."""

    def save(kind, change=None, **model_settings):
        config = Config.fromstring(TEST_SET.format(data=coco_set), '.py')
        config.model = SETUPS[kind]().student
        if 'bbox_head' in config.model and kind != 'dino':
            config.model.bbox_head.num_classes = 3
        config.merge_from_dict(
            {f'model.{k}': v for k, v in model_settings.items()}
        )
        if change is not None:
            change(config)
        model = build_model(config.model)
        seed_weights(model, 1)
        for name, parameter in model.named_parameters():
            if name.startswith('bbox_head') and parameter.dim() == 4:
                # Scores and boxes that differ from place to place.
                parameter.data *= 0.3
        path = tmp_path / f'{kind}.pth'
        torch.save(
            dict(
                state_dict=model.state_dict(),
                meta=dict(
                    cfg=config.pretty_text,
                    dataset_meta=dict(classes=CLASSES),
                ),
            ),
            path,
        )
        return path

    return save
