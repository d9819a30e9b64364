"""In pixels of what ground-truth boxes are, against boxes by hand."""

import json
import random

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope

from mmdet_rankkd.datasets.box_pixels import box_pixels, in_input_pixels

LOAD = dict(type='LoadAnnotations', with_bbox=True)
RESIZE = dict(type='Resize', scale=(168, 120), keep_ratio=False)
PAD = dict(type='Pad', size=(256, 256))
FLIP = dict(type='RandomFlip', prob=1.0)


@TRANSFORMS.register_module()
class Shrink(BaseTransform):
    """A transform of a user's own that tells nobody what it does."""

    def transform(self, results):
        results['img'] = results['img'][::2, ::2]
        return results


def make_set(project, *transforms, pack=(), **settings):
    cfg = Config.fromfile(project / 'student.py').val_dataloader.dataset
    keys = ('img_path', 'scale_factor', 'flip', *pack)
    cfg.pipeline = [
        dict(type='LoadImageFromFile'),
        *transforms,
        dict(type='PackDetInputs', meta_keys=keys),
    ]
    cfg.update(settings)
    return cfg


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(cfg)


def boxes_by_hand(project, path, width, height):
    """Boxes of an image from the annotation file, at its new size."""
    content = json.loads((project / 'data/train.json').read_text())
    (image,) = (i for i in content['images'] if path.endswith(i['file_name']))
    factors = [width / image['width'], height / image['height']] * 2
    boxes = [
        a['bbox']
        for a in content['annotations']
        if a['image_id'] == image['id']
    ]
    corners = [(x, y, x + w, y + h) for x, y, w, h in boxes]
    return torch.tensor(corners) * torch.tensor(factors)


@pytest.mark.parametrize(
    'transforms, pixels',
    [
        ((RESIZE, LOAD), 'image'),
        ((LOAD, RESIZE), 'input'),
        ((RESIZE, PAD, LOAD), 'image'),
        ((RESIZE, LOAD, PAD), 'image'),
        ((LOAD, RESIZE, PAD), 'input'),
        ((RESIZE, dict(FLIP, prob=0.0), LOAD), 'image'),
    ],
)
@pytest.mark.parametrize('wrapped', [False, True])
def test_both_orders_against_the_file(project, transforms, pixels, wrapped):
    cfg = make_set(project, *transforms, indices=4, lazy_init=True)
    if wrapped:
        repeated = dict(type='RepeatDataset', times=2, dataset=cfg)
        cfg = dict(type='ConcatDataset', datasets=[cfg, repeated])
    dataset = build(cfg)
    assert box_pixels(dataset) == pixels
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        before = sample.gt_instances.bboxes.tensor.clone()
        (scaled,) = in_input_pixels([sample], pixels)
        boxes = scaled.gt_instances.bboxes
        boxes = getattr(boxes, 'tensor', boxes)
        expected = boxes_by_hand(project, sample.img_path, 168, 120)
        torch.testing.assert_close(boxes, expected)
        assert torch.equal(sample.gt_instances.bboxes.tensor, before)


def test_transforms_of_a_wrapper_count(project):
    inner = make_set(project)
    pack = inner.pipeline.pop()
    cfg = dict(type='MultiImageMixDataset', dataset=inner)
    dataset = build(dict(cfg, pipeline=[RESIZE, LOAD, pack]))
    assert box_pixels(dataset) == 'image'
    inner.pipeline.append(LOAD)
    assert box_pixels(build(dict(cfg, pipeline=[RESIZE, pack]))) == 'input'
    mosaic = dict(type='Mosaic', img_scale=(64, 64))
    dataset = build(dict(cfg, pipeline=[mosaic, RESIZE, pack]))
    with pytest.raises(ValueError, match='Mosaic mixes several images'):
        box_pixels(dataset)


@pytest.mark.parametrize(
    'transforms, message',
    [
        ((RESIZE,), 'loads no boxes'),
        ((RESIZE, FLIP, LOAD), 'RandomFlip moves the image before'),
        ((RESIZE, LOAD, FLIP), 'Resize moves .* and RandomFlip afterwards'),
        ((RESIZE, LOAD, RESIZE | dict(scale=(60, 60))), 'and Resize afterw'),
        ((dict(type='CenterCrop', crop_size=50), LOAD), 'CenterCrop moves'),
        ((dict(type='mmengine.Shrink'), LOAD), 'Shrink moves the image'),
        (
            (dict(type='RandomApply', prob=1.0, transforms=[RESIZE, LOAD]),),
            'RandomApply moves the image before its boxes are loaded',
        ),
    ],
)
def test_what_cannot_be_known_is_refused(project, transforms, message):
    with pytest.raises(ValueError, match=message) as error:
        box_pixels(build(make_set(project, *transforms)))
    if 'no boxes' not in message:
        assert "boxes='input'" in str(error.value)


def test_unlike_parts_are_refused(project):
    sets = [make_set(project, RESIZE, LOAD), make_set(project, LOAD, RESIZE)]
    with pytest.raises(ValueError, match='another one afterwards'):
        box_pixels(build(dict(type='ConcatDataset', datasets=sets)))


def test_data_sets_without_a_pipeline():
    with pytest.raises(ValueError, match='list has no pipeline'):
        box_pixels([1, 2])


def test_samples_that_do_not_tell(project):
    cfg = make_set(project, RESIZE, dict(FLIP, prob=0.0), LOAD)
    sample = build(cfg)[0]['data_samples']
    sample.set_metainfo(dict(flip=True))
    with pytest.raises(ValueError, match='was flipped'):
        in_input_pixels([sample], 'image')
    sample.pop('scale_factor')
    with pytest.raises(ValueError, match='no scale_factor'):
        in_input_pixels([sample], 'image')
    assert in_input_pixels([sample], 'input') == [sample]


def test_random_numbers_stay_as_they_were(project):
    jitter = dict(type='PhotoMetricDistortion')
    dataset = build(make_set(project, jitter, LOAD, FLIP | dict(prob=0.5)))

    def seed_all():
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(0)

    def drawn():
        return random.random(), np.random.rand(), torch.rand(1).item()

    seed_all()
    expected = drawn()
    seed_all()
    assert box_pixels(dataset) == 'input'
    assert drawn() == expected
