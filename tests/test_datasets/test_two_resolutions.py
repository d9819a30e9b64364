"""The same augmented image at two resolutions."""

import mmcv
import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import DefaultScope

from mmdet_rankkd.datasets import RandomResizedCrop
from mmdet_rankkd.datasets.two_resolutions import (
    with_students_image,
    with_teachers_image,
)
from mmdet_rankkd.registry import DATASETS, TRANSFORMS

from ..helpers import CLASSES

LARGE = dict(type='Resize', scale=(133, 80), keep_ratio=True)
SMALL = dict(type='Resize', scale=(64, 48), keep_ratio=True)
FLIP = dict(type='RandomFlip', prob=0.5)
PACK = dict(type='PackDetInputs')
RATIOS = dict(type='RandomResize', keep_ratio=True, ratio_range=(0.5, 1.5))
CHOICE = dict(type='RandomChoiceResize', keep_ratio=True)
CROP = dict(type='mmdet_rankkd.RandomResizedCrop', size=32)
NO_BOXES = dict(type='FilterAnnotations', min_gt_bbox_wh=(500, 500))


def build(config):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return TRANSFORMS.build(config)


def two(pipeline, **settings):
    return build(
        dict(type='mmdet_rankkd.TwoResolutions', pipeline=pipeline, **settings)
    )


@pytest.fixture(scope='module')
def pixels():
    return np.random.RandomState(0).randint(0, 256, (51, 77, 3), np.uint8)


def loaded(pixels):
    """What a pipeline has of an image with a box before its resize."""
    boxes = torch.tensor([[10.0, 5, 40, 30]])
    return dict(
        img=pixels.copy(),
        img_shape=pixels.shape[:2],
        ori_shape=pixels.shape[:2],
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.array([1]),
        gt_ignore_flags=np.array([False]),
    )


def array(tensor):
    return tensor.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    'resize, settings',
    [
        (SMALL, dict(teacher=LARGE)),
        (SMALL, dict(scale=2)),
        (dict(RATIOS, scale=(64, 48)), dict(scale=3)),
        (
            dict(RATIOS, scale=(64, 48)),
            dict(teacher=dict(RATIOS, scale=(160, 120))),
        ),
        (
            dict(CHOICE, scales=[(64, 48), (40, 30)]),
            dict(teacher=dict(CHOICE, scales=[(96, 72), (72, 54)])),
        ),
        (CROP, dict(scale=2)),
    ],
)
def test_the_students_part_is_its_pipeline(pixels, resize, settings):
    """Image, boxes, facts and what is drawn afterwards, to the bit."""
    pipeline = [FLIP, resize, FLIP, PACK]
    wrapped, steps = two(pipeline, **settings), [build(x) for x in pipeline]
    for seed in range(8):
        np.random.seed(seed)
        found = wrapped(loaded(pixels))
        after = np.random.rand()
        np.random.seed(seed)
        plain = loaded(pixels)
        for step in steps:
            plain = step(plain)
        assert np.random.rand() == after
        assert torch.equal(found['inputs'], plain['inputs'])
        sample, other = found['data_samples'], plain['data_samples']
        boxes = [s.gt_instances.bboxes.tensor for s in (sample, other)]
        assert torch.equal(*boxes)
        facts = dict(sample.metainfo)
        width, height = facts.pop('teacher_scale')
        assert facts == other.metainfo
        assert set(found) == {*plain, 'teacher_inputs'}
        assert found['teacher_inputs'].shape[1:] == (
            round(found['inputs'].shape[1] * height),
            round(found['inputs'].shape[2] * width),
        )


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_the_teachers_image_is_of_the_original_pixels(pixels, direction):
    """Not enlarged from the student's; flipped as it is."""
    flip = dict(type='RandomFlip', prob=1.0, direction=direction)
    found = two([SMALL, flip, PACK], teacher=LARGE)(loaded(pixels))
    size = mmcv.rescale_size((77, 51), (133, 80))
    image = mmcv.imflip(mmcv.imresize(pixels, size), direction)
    assert np.array_equal(array(found['teacher_inputs']), image)
    enlarged = mmcv.imresize(array(found['inputs']), size)
    assert not np.array_equal(enlarged, image)
    height, width = found['inputs'].shape[1:]
    scale = found['data_samples'].teacher_scale
    assert scale == (size[0] / width, size[1] / height)


def test_flips_are_the_same_flips(pixels):
    wrapped = two([SMALL, FLIP, PACK], scale=1)
    flips = set()
    for seed in range(10):
        np.random.seed(seed)
        found = wrapped(loaded(pixels))
        flips.add(found['data_samples'].flip)
        assert torch.equal(found['inputs'], found['teacher_inputs'])
        assert found['data_samples'].teacher_scale == (1.0, 1.0)
    assert flips == {True, False}


def test_the_same_choice_of_sizes(pixels):
    wrapped = two(
        [dict(CHOICE, scales=[(64, 48), (40, 30)]), PACK],
        teacher=dict(CHOICE, scales=[(154, 102), (77, 51)]),
    )
    sizes = set()
    for seed in range(8):
        np.random.seed(seed)
        found = wrapped(loaded(pixels))
        sizes.add((found['inputs'].shape[2], found['teacher_inputs'].shape[2]))
    assert sizes == {(64, 154), (40, 77)}


@pytest.mark.parametrize(
    'settings', [dict(scale=3), dict(teacher=dict(CROP, size=96))]
)
def test_the_same_part_of_the_image(pixels, settings):
    np.random.seed(3)
    left, top, w, h = RandomResizedCrop(32).box(51, 77)
    np.random.seed(3)
    found = two([CROP, PACK], **settings)(loaded(pixels))
    part = pixels[top : top + h, left : left + w]
    for name, side in (('inputs', 32), ('teacher_inputs', 96)):
        image = mmcv.imresize(part, (side, side))
        assert np.array_equal(array(found[name]), image)


def test_padding_is_made_on_both(pixels):
    pad = dict(type='Pad', size_divisor=32, pad_val=dict(img=(1, 2, 3)))
    found = two([SMALL, pad, PACK], scale=2)(loaded(pixels))
    assert found['inputs'].shape == (3, 64, 64)
    assert found['teacher_inputs'].shape == (3, 96, 128)
    assert found['teacher_inputs'][:, -1, -1].tolist() == [1, 2, 3]
    # The scale is that of the image, which was 64 x 42, and not of its frame.
    assert found['data_samples'].teacher_scale == (2.0, 2.0)


def test_what_the_student_drops_is_dropped(pixels):
    for settings in ({}, dict(teacher_only=True)):
        wrapped = two([SMALL, NO_BOXES, PACK], teacher=LARGE, **settings)
        assert wrapped(loaded(pixels)) is None
    wrapped = two([NO_BOXES, SMALL, PACK], teacher=LARGE)
    assert wrapped(loaded(pixels)) is None


@pytest.mark.parametrize('settings', [dict(teacher=LARGE), dict(scale=2)])
def test_the_teacher_alone(pixels, settings):
    """As its own pipeline gives it, with boxes and facts of its image."""
    pipeline = [SMALL, FLIP, PACK]
    np.random.seed(1)
    both = two(pipeline, **settings)(loaded(pixels))
    np.random.seed(1)
    found = two(pipeline, **settings, teacher_only=True)(loaded(pixels))
    assert set(found) == {'inputs', 'data_samples'}
    assert torch.equal(found['inputs'], both['teacher_inputs'])
    sample, other = found['data_samples'], both['data_samples']
    width, height = other.teacher_scale
    boxes = other.gt_instances.bboxes.tensor
    expected = boxes * torch.tensor([width, height] * 2)
    assert torch.allclose(
        sample.gt_instances.bboxes.tensor, expected, atol=1e-4
    )
    assert sample.img_shape == found['inputs'].shape[1:]
    assert 'teacher_scale' not in sample


def test_pipelines_of_configs():
    inner = [dict(type='LoadImageFromFile'), SMALL, PACK]
    step = dict(
        type='mmdet_rankkd.TwoResolutions', pipeline=inner, teacher=LARGE
    )
    assert with_students_image([FLIP, step]) == [FLIP, *inner]
    assert with_students_image(inner) == inner
    assert with_teachers_image([step]) == [dict(step, teacher_only=True)]
    assert with_teachers_image(inner) == inner


@pytest.mark.parametrize(
    'pipeline, settings, message',
    [
        ([SMALL, PACK], {}, 'one of teacher'),
        ([SMALL, PACK], dict(teacher=LARGE, scale=2), 'one of teacher'),
        ([SMALL, PACK], dict(scale=1.5), 'whole number'),
        ([SMALL, PACK], dict(scale=0), 'whole number'),
        ([FLIP, PACK], dict(scale=2), 'exactly one resize.*there are 0'),
        ([SMALL, SMALL, PACK], dict(scale=2), 'there are 2'),
        ([FLIP, SMALL], dict(scale=2), 'end with what packs'),
        (
            [SMALL, dict(type='RandomCrop', crop_size=(20, 20)), PACK],
            dict(scale=2),
            'RandomCrop behind Resize.*place it before',
        ),
        (
            [SMALL, dict(type='PhotoMetricDistortion'), PACK],
            dict(scale=2),
            'PhotoMetricDistortion behind Resize',
        ),
        (
            [SMALL, dict(type='Pad', size=(64, 64)), PACK],
            dict(scale=2),
            'fits one resolution',
        ),
        (
            [SMALL, dict(type='Pad', size_divisor=32), FLIP, PACK],
            dict(scale=2),
            'flip first',
        ),
        (
            [dict(type='Mosaic', img_scale=(64, 64)), SMALL, PACK],
            dict(scale=2),
            'Mosaic takes other images.*place it .* before TwoResolutions',
        ),
        ([CROP, PACK], dict(teacher=LARGE), 'RandomResizedCrop draws'),
        ([CROP, PACK], dict(teacher=dict(CROP, scale=(0.5, 1.0))), 'scale'),
        ([CROP, PACK], dict(teacher=dict(CROP, ratio=(1.0, 1.0))), 'ratio'),
        (
            [SMALL, PACK],
            dict(teacher=dict(RATIOS, scale=(90, 70))),
            'does not draw',
        ),
        (
            [dict(RATIOS, scale=(64, 48)), PACK],
            dict(teacher=dict(RATIOS, scale=(90, 70), ratio_range=(1.0, 2.0))),
            'same ratio_range',
        ),
        (
            [
                dict(type='RandomResize', scale=[(9, 9), (50, 40)]),
                PACK,
            ],
            dict(
                teacher=dict(type='RandomResize', scale=[(18, 18), (100, 80)])
            ),
            'same ratio_range',
        ),
        (
            [dict(CHOICE, scales=[(64, 48), (40, 30)]), PACK],
            dict(teacher=dict(CHOICE, scales=[(90, 70)])),
            'as many scales',
        ),
        (
            [
                dict(
                    type='mmdet_rankkd.TwoViews', weak=[SMALL], strong=[SMALL]
                ),
                PACK,
            ],
            dict(scale=2),
            'TwoViews',
        ),
    ],
)
def test_what_cannot_be_followed_is_refused(pipeline, settings, message):
    with pytest.raises(ValueError, match=message):
        two(pipeline, **settings)


def test_behind_a_mosaic(project):
    """The images of a mosaic are drawn once, for both."""
    data = dict(
        type='CocoDataset',
        data_root=f'{project}/data',
        ann_file='train.json',
        data_prefix=dict(img='img/'),
        metainfo=dict(classes=CLASSES),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
        ],
    )
    steps = [
        dict(type='Mosaic', img_scale=(64, 64)),
        dict(
            type='mmdet_rankkd.TwoResolutions',
            pipeline=[dict(SMALL, keep_ratio=False), FLIP, PACK],
            scale=2,
        ),
    ]
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(
            dict(type='MultiImageMixDataset', dataset=data, pipeline=steps)
        )
    np.random.seed(0)
    found = dataset[0]
    assert found['inputs'].shape == (3, 48, 64)
    image = array(found['teacher_inputs'])
    assert image.shape == (96, 128, 3)
    # Both are of one image of 128 x 128 pixels.
    smaller = mmcv.imresize(image, (64, 48)).astype(float)
    apart = np.abs(smaller - array(found['inputs']))
    assert apart.mean() < 15 < array(found['inputs']).std()


def test_it_must_pack(pixels):
    with pytest.raises(ValueError, match='must pack the image'):
        two([SMALL, dict(type='RandomFlip', prob=0.0)], scale=2)(
            loaded(pixels)
        )
