"""A teacher that sees the images at a resolution of its own."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmdet_rankkd.engine.doctor.step import measure
from mmdet_rankkd.recorders.dense import flatten, matched_levels
from mmdet_rankkd.registry import TRANSFORMS

from ..setups import (
    SETUPS,
    build_model,
    distiller_config,
)

SMALL = dict(type='Resize', scale=(96, 96), keep_ratio=True)
FLIP = dict(type='RandomFlip', prob=0.5)
#: Faster R-CNN's teacher sees images of other aspect ratios than the student.
UNEVEN = dict(type='Resize', scale=(150, 230), keep_ratio=False)
OWN_NORM = dict(
    mean=[100.0, 110, 120], std=[50.0, 60, 70], pad_size_divisor=16
)


@cache
def transform(classifies, **settings):
    """The student's pipeline, in two resolutions if there are settings."""
    pack = 'mmdet_rankkd.PackCls' if classifies else 'PackDetInputs'
    size = dict(SMALL, scale=(32, 32)) if classifies else SMALL
    pipeline = [size, FLIP, dict(type=pack)]
    if settings:
        settings = {
            k: dict(v) if k == 'teacher' else v for k, v in settings.items()
        }
        pipeline = [
            dict(
                type='mmdet_rankkd.TwoResolutions',
                pipeline=pipeline,
                **settings,
            )
        ]
    with DefaultScope.overwrite_default_scope('mmdet'):
        return [TRANSFORMS.build(x) for x in pipeline]


def batch(setup, seed=0, **settings):
    """Two images of other sizes through the pipeline, collated."""
    settings = {
        k: tuple(v.items()) if k == 'teacher' else v
        for k, v in settings.items()
    }
    rng = np.random.RandomState(seed)
    np.random.seed(seed)
    items = []
    for height, width in ((120, 160), (150, 100)):
        results = dict(
            img=rng.randint(0, 256, (height, width, 3), np.uint8),
            img_shape=(height, width),
            ori_shape=(height, width),
            gt_label=int(rng.randint(100)),
        )
        if not setup.classifies:
            boxes = torch.tensor([[10.0, 12, 70, 90], [50, 40, 95, 115]])
            results.update(
                gt_bboxes=HorizontalBoxes(boxes),
                gt_bboxes_labels=np.array([0, 2]),
                gt_ignore_flags=np.array([False, False]),
            )
        if setup.masks:
            masks = np.zeros((2, height, width), np.uint8)
            masks[0, 12:80, 10:40] = masks[1, 40:110, 50:70] = 1
            results['gt_masks'] = BitmapMasks(masks, height, width)
        for step in transform(setup.classifies, **settings):
            results = step(results)
        items.append(results)
    return pseudo_collate(items)


def config_of(name, checkpoints, losses, scale=None, norm=None, **loss):
    """Config of a distillation, its teacher of an ``input_scale``."""
    setup = SETUPS[name]()
    if norm is not None:
        setup.teacher['data_preprocessor'].update(norm)
    if scale not in (None, 1):
        # The student's last level has no grid of the teacher's.
        setup.levels -= 1
    if setup.is_dense:
        setup.logits['locations'] = 'all'
    losses = [setup.loss(x, **loss) for x in losses]
    config = distiller_config(setup, checkpoints(name), losses)
    config['teacher']['input_scale'] = scale
    return config


def make(name, checkpoints, losses, scale=None, norm=None, **loss):
    """The distiller of a set-up."""
    config = config_of(name, checkpoints, losses, scale, norm, **loss)
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    return model.train()


def step(model, data):
    """Losses and gradients of a step."""
    torch.manual_seed(1)
    model.zero_grad()
    inputs = model.data_preprocessor(copy.deepcopy(data), True)
    losses = model(**inputs, mode='loss')
    model.parse_losses(losses)[0].backward()
    found = {
        k: p.grad.clone()
        for k, p in model.named_parameters()
        if p.grad is not None
    }
    for name, value in losses.items():
        values = value if isinstance(value, list) else [value]
        found[name] = torch.stack([x.detach() for x in values])
    return found


def listen(model, name):
    """What a recorder gave in the steps to come, and its records."""
    recorder, seen = model.recorders[name], []
    replay = recorder.replay

    def keep(teacher, features, record):
        seen.append((replay(teacher, features, record), record, features))
        return seen[-1][0]

    recorder.replay = keep
    return seen


def larger(model, data, size=None):
    """The teacher's images as its own config wants them, padded to a size."""
    teacher = model.teacher.model
    images = teacher.data_preprocessor(
        dict(inputs=data['teacher_inputs']), False
    )['inputs']
    if size is not None:
        height, width = size[0] - images.shape[2], size[1] - images.shape[3]
        images = F.pad(images, (0, width, 0, height))
    return images


ALL = {
    'faster-rcnn': ['KLDivLoss', 'KendallRankLoss', 'PKDLoss', 'FGFILoss'],
    'cascade-rcnn': ['KLDivLoss'],
    'mask-rcnn': ['KLDivLoss', 'MaskKDLoss'],
    'retinanet': ['BinaryKLDivLoss', 'FGDLoss'],
    'fcos': ['BinaryKLDivLoss'],
    'atss': ['BinaryKLDivLoss', 'CWDLoss'],
    'gfl': ['BinaryKLDivLoss', 'LDLoss', 'CrossKDLoss'],
    'rtmdet': ['BinaryKLDivLoss', 'PKDLoss'],
    'detr': ['KLDivLoss'],
    'classifier': ['KLDivLoss', 'KendallRankLoss', 'ATLoss'],
}


@pytest.mark.parametrize(
    'name, norm',
    [
        *((name, None) for name in ALL),
        ('faster-rcnn', OWN_NORM),
        ('retinanet', dict(mean=[1.0, 2, 3], pad_value=4)),
        ('classifier', dict(mean=[1.0, 2, 3], std=[50.0, 60, 70])),
    ],
)
def test_equal_scales_are_today_to_the_bit(name, norm, checkpoints):
    """Losses, gradients and tau of a step; the teacher has own images."""
    setup = SETUPS[name]()
    plain = make(name, checkpoints, ALL[name], norm=norm)
    expected = step(plain, batch(setup))
    assert expected[next(iter(plain.losses))] > 0
    scale = 1 if norm else None
    model = make(name, checkpoints, ALL[name], scale, norm)
    data = batch(setup, scale=1)
    assert 'teacher_inputs' in model.data_preprocessor(data, True)
    found = step(model, data)
    assert list(found) == list(expected)
    for key, value in found.items():
        assert torch.equal(value, expected[key]), key


@pytest.mark.parametrize(
    'name, settings',
    [
        ('faster-rcnn', dict(scale=2)),
        ('cascade-rcnn', dict(teacher=UNEVEN)),
        ('mask-rcnn', dict(teacher=UNEVEN)),
    ],
)
def test_rois_on_the_teachers_larger_image(name, settings, checkpoints):
    """The teacher run by itself on that image and the boxes scaled to it."""
    losses = [x for x in ALL[name] if not x.startswith(('PKD', 'FGFI'))]
    model = make(name, checkpoints, losses, norm=OWN_NORM)
    seen = {x: listen(model, x) for x in model.recorders}
    data = batch(SETUPS[name](), **settings)
    step(model, data)
    teacher = model.teacher.model
    with torch.no_grad():
        features = teacher.extract_feat(larger(model, data))
    sizes = [
        [x.shape[:0:-1] for x in data[k]] for k in ('inputs', 'teacher_inputs')
    ]
    factors = torch.tensor(
        [[a / b for a, b in zip(t, s)] * 2 for s, t in zip(*sizes)]
    )
    assert factors.min() > 1.2

    # The boxes that the student sampled: the same without the other images.
    again = make(name, checkpoints, losses, norm=OWN_NORM)
    own = {x: listen(again, x) for x in again.recorders}
    step(again, batch(SETUPS[name]()))

    for part in seen:
        pair, records, _ = seen[part][0]
        rows = []
        for stage, record in enumerate(own[part][0][1]):
            rois = record.rois.clone()
            rois[:, 1:] *= factors[rois[:, 0].long()]
            assert torch.equal(records[stage].rois, rois)
            head = teacher.roi_head
            forward = (
                head._mask_forward if part == 'masks' else head._bbox_forward
            )
            arguments = (stage,) if name == 'cascade-rcnn' else ()
            with torch.no_grad():
                found = forward(*arguments, features, rois)
            if part == 'masks':
                masks = found['mask_preds']
                index = torch.arange(len(rois))
                rows.append(masks[index, record.labels].flatten(1))
            else:
                rows.append(found['cls_score'])
        assert torch.equal(pair.teacher, torch.cat(rows))
        assert torch.equal(pair.student, own[part][0][0].student)
        assert not torch.equal(pair.teacher, own[part][0][0].teacher)


def test_logits_of_a_larger_image(checkpoints):
    model = make('classifier', checkpoints, ['KLDivLoss'], norm=None)
    seen = listen(model, 'logits')
    data = batch(SETUPS['classifier'](), scale=2)
    # Images of two sizes do not come in one batch of a classifier.
    for key in ('inputs', 'teacher_inputs'):
        data[key] = [data[key][0]] * 2
    step(model, data)
    assert data['teacher_inputs'][0].shape == (3, 48, 64)
    teacher = model.teacher.model
    with torch.no_grad():
        logits = teacher(larger(model, data))
    assert torch.equal(seen[0][0].teacher, logits)
    assert torch.equal(
        seen[0][0].labels,
        torch.cat([x.gt_label for x in data['data_samples']]),
    )


@pytest.mark.parametrize('name', ['retinanet', 'fcos', 'rtmdet'])
def test_dense_logits_of_the_same_places(name, checkpoints):
    """The teacher's second level at twice the size has the first's grid."""
    model = make(name, checkpoints, ['BinaryKLDivLoss'], 2, OWN_NORM)
    seen = listen(model, 'logits')
    data = batch(SETUPS[name](), scale=2)
    step(model, data)
    pair, record, _ = seen[0]
    again = make(name, checkpoints, ['BinaryKLDivLoss'])
    own = listen(again, 'logits')
    step(again, batch(SETUPS[name]()))
    teacher, student = model.teacher.model.bbox_head, again.student.bbox_head
    with torch.no_grad():
        features = model.teacher.model.extract_feat(
            larger(model, data, (192, 192))
        )
        levels = teacher(features)[0]
    count = len(levels) - 1
    assert torch.equal(pair.teacher, flatten(levels[1:], 80))
    assert torch.equal(pair.student, own[0][0].student[: len(pair.teacher)])
    assert torch.equal(pair.labels, own[0][0].labels[: len(pair.teacher)])
    assert len(pair.teacher) < len(own[0][0].student)
    assert pair.avg_factor == len(pair.teacher)
    # By MMDetection's own places: those of the teacher, halved.
    places = [
        torch.cat(
            head.prior_generator.grid_priors(
                [x.shape[2:] for x in levels], device='cpu'
            )[part]
        )
        for head, levels, part in (
            (student, record.logits, slice(count)),
            (teacher, levels, slice(1, None)),
        )
    ]
    assert torch.equal(places[0], places[1] / 2)
    assert 2 * len(places[0]) == len(pair.teacher)


def test_distributions_of_the_same_places(checkpoints):
    model = make('gfl', checkpoints, ['LDLoss'], 2)
    seen = listen(model, 'boxes')
    data = batch(SETUPS['gfl'](), scale=2)
    found = step(model, data)
    pair = seen[0][0]
    again = make('gfl', checkpoints, ['LDLoss'])
    own = listen(again, 'boxes')
    step(again, batch(SETUPS['gfl']()))
    with torch.no_grad():
        images = larger(model, data, (192, 192))
        features = model.teacher.model.extract_feat(images)
        boxes = model.teacher.model.bbox_head(features)[1]
    columns = 4 * (model.student.bbox_head.reg_max + 1)
    assert torch.equal(pair.teacher, flatten(boxes[1:], columns))
    rows = len(pair.teacher)
    assert found['loss_ld'] > 0 and rows < len(own[0][0].student)
    for name in ('student', 'priors', 'image', 'level', 'foreground'):
        whole = getattr(own[0][0], name)
        assert torch.equal(getattr(pair, name), whole[:rows]), name
    for name in ('weight', 'confidence'):
        assert torch.equal(
            getattr(pair, name), getattr(own[0][0], name)[:rows]
        )


@pytest.mark.parametrize(
    'name, loss', [('faster-rcnn', 'PKDLoss'), ('retinanet', 'FGDLoss')]
)
def test_features_of_the_same_grid(name, loss, checkpoints):
    model = make(name, checkpoints, [loss], 2)
    seen = listen(model, 'features')
    data = batch(SETUPS[name](), scale=2)
    found = step(model, data)
    pair = seen[0][0]
    with torch.no_grad():
        images = larger(model, data, (192, 192))
        maps = model.teacher.model.extract_feat(images)
    assert len(pair.teacher.stages) == len(maps) - 1 == 3
    for x, y in zip(pair.teacher.stages, maps[1:]):
        assert torch.equal(x, y)
    for x, y in zip(pair.student.stages, pair.teacher.stages):
        assert x.shape[2:] == y.shape[2:] and x.requires_grad
    assert all(x > 0 for k, x in found.items() if k in model.losses)


def test_features_of_a_classifier(checkpoints):
    """Of each grid the deepest map; the teacher's stages are 64, 32, 16."""
    model = make('classifier', checkpoints, ['ATLoss'], 2)
    seen = listen(model, 'features')
    data = batch(SETUPS['classifier'](), scale=2)
    found = step(model, data)
    pair = seen[0][0]
    for x, y in zip(pair.student.stages, pair.teacher.stages):
        assert x.shape[2:] == y.shape[2:]
    assert len(pair.student.stages) == 2
    assert found['loss_at'] > 0


def test_it_is_another_gradient(checkpoints):
    """The larger images count; all terms reach the student."""
    losses = ['KLDivLoss', 'KendallRankLoss']
    small = step(
        make('faster-rcnn', checkpoints, losses),
        batch(SETUPS['faster-rcnn']()),
    )
    large = step(
        make('faster-rcnn', checkpoints, losses),
        batch(SETUPS['faster-rcnn'](), scale=2),
    )
    assert not torch.equal(small['loss_kd'], large['loss_kd'])
    assert torch.equal(small['loss_rpn_cls'], large['loss_rpn_cls'])
    key = 'roi_head.bbox_head.fc_cls.weight'
    assert not torch.equal(small[key], large[key])


@pytest.mark.parametrize('name, scale', [('gfl', 2), ('classifier', None)])
def test_under_autocast(name, scale, checkpoints):
    """Near the losses of float32, and in float32 themselves.

    Two-stage detectors need NMS, which has no half precision on the CPU.
    """
    model = make(name, checkpoints, ['KendallRankLoss'], scale)
    (term,) = model.losses
    found = []
    for enabled in (False, True):
        data = batch(SETUPS[name](), scale=2)
        torch.manual_seed(3)
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            data = model.data_preprocessor(data, True)
            assert 'teacher_inputs' in data
            found.append(model(**data, mode='loss')[term])
    exact, near = found
    assert near.dtype == torch.float32
    assert near.item() == pytest.approx(exact.item(), rel=0.1, abs=1e-3)
    assert near.item() != exact.item()


@pytest.mark.parametrize('name', ['faster-rcnn', 'classifier'])
def test_without_weight_it_is_the_plain_student(name, checkpoints):
    setup = SETUPS[name]()
    model = make(name, checkpoints, ['KLDivLoss'], loss_weight=0)
    torch.manual_seed(0)
    student = build_model(setup.student)
    student.init_weights()
    expected = step(student.train(), batch(setup))
    found = step(model, batch(setup, scale=2))
    assert list(found) == list(expected)
    assert all(torch.equal(v, expected[k]) for k, v in found.items())


@pytest.mark.parametrize('name', ['faster-rcnn', 'classifier'])
def test_the_student_predicts_without_the_teachers_images(name, checkpoints):
    setup = SETUPS[name]()
    model = make(name, checkpoints, ['KLDivLoss']).eval()
    data = batch(setup, scale=2)
    for key in ('inputs', 'teacher_inputs'):
        data[key] = [data[key][0]] * 2
    inputs = model.data_preprocessor(copy.deepcopy(data), False)
    assert set(inputs) == {'inputs', 'data_samples'}
    with torch.no_grad():
        assert len(model(**inputs, mode='predict')) == 2


@pytest.mark.parametrize('name', ['faster-rcnn', 'classifier'])
def test_doctor_measures_it(name, checkpoints):
    model = make(name, checkpoints, ['KLDivLoss'])
    data = batch(SETUPS[name](), scale=2)
    for key in ('inputs', 'teacher_inputs'):
        data[key] = [data[key][0]] * 2
    if name == 'faster-rcnn':
        data = batch(SETUPS[name](), teacher=UNEVEN)
    found = measure(model, data)
    assert found.same and found.repeats and not found.broken
    assert found.norms['loss_kd'] > 0


def test_levels():
    assert matched_levels([8, 16, 32, 64, 128], [8, 16, 32, 64, 128], 2) == (
        1,
        4,
    )
    assert matched_levels([8, 16, 32], [8, 16, 32], 4) == (2, 1)
    assert matched_levels([4, 8, 16], [8, 16, 32, 64], 2) == (0, 3)
    assert matched_levels([8, 16, 32], [8, 24, 48], 3) == (1, 2)
    with pytest.raises(ValueError, match='3 times 8 is not among them'):
        matched_levels([8, 16, 32], [8, 16, 32], 3)


@pytest.mark.parametrize(
    'name, losses, scale, message',
    [
        ('retinanet', ['BinaryKLDivLoss'], 3, '3 times 4 is not among them'),
        ('gfl', ['BinaryKLDivLoss', 'CrossKDLoss'], 2, 'CrossedHead cannot'),
        ('detr', ['KLDivLoss'], 2, 'QueryLogits cannot'),
        ('faster-rcnn', ['PKDLoss'], 3, 'no feature maps'),
        ('faster-rcnn', ['KLDivLoss'], 1.5, 'input_scale must be a whole'),
        ('faster-rcnn', ['KLDivLoss'], 0, 'input_scale must be a whole'),
    ],
)
def test_refused_before_the_first_step(
    name, losses, scale, message, checkpoints
):
    with pytest.raises(ValueError, match=message):
        make(name, checkpoints, losses, scale)


def test_other_anchors_are_refused(checkpoints):
    config = config_of('retinanet', checkpoints, ['BinaryKLDivLoss'], 2)
    teacher = config['teacher']['config']['model']
    teacher['bbox_head']['anchor_generator']['scales'] = [4]
    model = build_model(config)
    with pytest.raises(ValueError, match='in pixels of the teacher'):
        model.init_weights()


def test_a_square_is_no_scale(checkpoints):
    config = config_of('classifier', checkpoints, ['KLDivLoss'], 2)
    config['teacher']['input_size'] = 64
    with pytest.raises(ValueError, match='give one of them'):
        build_model(config)


@pytest.mark.parametrize(
    'name, losses, scale, settings, message',
    [
        # Nobody said that the images are larger.
        ('retinanet', ['BinaryKLDivLoss'], None, dict(scale=2), 'input_scale'),
        ('faster-rcnn', ['PKDLoss'], None, dict(scale=2), 'input_scale'),
        ('detr', ['KLDivLoss'], None, dict(scale=2), 'QueryLogits cannot'),
        # The pipeline gives other ones than were declared, or none.
        ('retinanet', ['BinaryKLDivLoss'], 2, dict(scale=4), '4.0'),
        ('retinanet', ['BinaryKLDivLoss'], 2, {}, '1.0'),
        ('faster-rcnn', ['KLDivLoss'], 2, {}, '1.0'),
        ('retinanet', ['BinaryKLDivLoss'], 2, dict(teacher=UNEVEN), 'scale=N'),
    ],
)
def test_refused_in_the_first_step(
    name, losses, scale, settings, message, checkpoints
):
    model = make(name, checkpoints, losses, scale)
    with pytest.raises(ValueError, match=message):
        step(model, batch(SETUPS[name](), **settings))


def test_more_padding_than_the_students_is_refused(checkpoints):
    norm = dict(pad_size_divisor=128)
    model = make('retinanet', checkpoints, ['BinaryKLDivLoss'], 2, norm)
    with pytest.raises(ValueError, match='pad_size_divisor'):
        step(model, batch(SETUPS['retinanet'](), scale=2))


def test_augmentation_of_batches_is_refused(checkpoints):
    config = config_of('faster-rcnn', checkpoints, ['KLDivLoss'])
    config['student']['data_preprocessor']['batch_augments'] = [
        dict(type='BatchFixedSizePad', size=(128, 128))
    ]
    model = build_model(config).train()
    with pytest.raises(ValueError, match='batch_augments'):
        step(model, batch(SETUPS['faster-rcnn'](), scale=2))


@pytest.mark.parametrize('settings', [dict(scale=2), dict(teacher=UNEVEN)])
def test_held_out_boxes(settings, checkpoints):
    model = make('faster-rcnn', checkpoints, ['KLDivLoss'], norm=OWN_NORM)
    data = batch(SETUPS['faster-rcnn'](), **settings)
    student, teacher = model.student.eval(), model.teacher.model
    with torch.no_grad():
        rows = model.logits.held_out(student, teacher, copy.deepcopy(data))
        features = teacher.extract_feat(larger(model, data))
        rois = []
        for i, sample in enumerate(data['data_samples']):
            boxes = sample.gt_instances.bboxes.tensor
            factors = torch.tensor(sample.teacher_scale * 2)
            image = torch.full((len(boxes), 1), float(i))
            rois.append(torch.cat([image, boxes * factors], 1))
        logits = teacher.roi_head._bbox_forward(features, torch.cat(rois))
    assert torch.equal(rows[1], logits['cls_score'])
    assert rows[0].shape == rows[1].shape == (4, 4)


@pytest.mark.parametrize('locations', ['teacher', 'positives'])
def test_held_out_places(locations, checkpoints):
    model = make('retinanet', checkpoints, ['BinaryKLDivLoss'], 2)
    hook = model.logits
    hook.locations = locations
    data = batch(SETUPS['retinanet'](), scale=2)
    for sample in data['data_samples']:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.tensor
    student, teacher = model.student.eval(), model.teacher.model
    with torch.no_grad():
        rows = hook.held_out(student, teacher, copy.deepcopy(data))
        images = larger(model, data, (192, 192))
        levels = teacher.bbox_head(teacher.extract_feat(images))[0]
        known = {tuple(x) for x in flatten(levels[1:], 80).tolist()}
    assert len(rows[0]) == len(rows[1]) > 0
    assert all(tuple(x) in known for x in rows[1].tolist())
    with pytest.raises(ValueError, match='input_scale'):
        hook.held_out(student, teacher, batch(SETUPS['retinanet']()))
