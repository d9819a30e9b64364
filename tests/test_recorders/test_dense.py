import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.recorders import ClassMap, DenseLogits, RoILogits
from mmdet_rankkd.structures import confidence, logit_pair

from ..helpers import ROOT, build, raw_batch

HEADS = ('retinanet', 'fcos', 'atss', 'gfl', 'rtmdet')
MODELS = ROOT / 'configs/_base_/models'


def detector(head, backbone='mobilenet-v2-half', seed=0, **options):
    config = Config.fromfile(MODELS / f'{head}_{backbone}_fpn.py')
    config.merge_from_dict(options)
    torch.manual_seed(seed)
    return build(config.model)


@pytest.fixture(scope='module')
def retinas():
    teacher = detector('retinanet', 'r50-quarter', 1)
    return detector('retinanet').train(), teacher.eval().requires_grad_(False)


def one_pass(hook, student, teacher, batch=None):
    """The hook's pair, what it recorded, and what the student's loss saw."""
    hook.check(student, teacher)
    data = student.data_preprocessor(batch or raw_batch(), True)
    seen = []
    handle = student.bbox_head.loss_cls.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[:2])
    )
    with hook.record(student) as record:
        student(**data, mode='loss')
    handle.remove()
    with torch.no_grad():
        features = teacher.extract_feat(data['inputs'])
    return hook.replay(teacher, features, record), record, seen


@pytest.mark.parametrize('head', HEADS)
def test_rows_are_those_of_the_students_own_loss(head):
    student = detector(head).train()
    teacher = detector(head, 'r50-quarter', 1).eval().requires_grad_(False)
    pair, record, seen = one_pass(DenseLogits('all'), student, teacher)
    logits = torch.cat([x.reshape(-1, 80) for x, _ in seen])
    assert torch.equal(pair.student, logits)
    labels = [y[0] if isinstance(y, (tuple, list)) else y for _, y in seen]
    assert torch.equal(pair.labels, torch.cat([x.flatten() for x in labels]))
    assert {0, 2} <= set(pair.labels.tolist()) <= {0, 2, 80}
    assert torch.equal(pair.foreground, pair.labels < 80)
    assert pair.teacher.shape == pair.student.shape
    assert pair.student.requires_grad and not pair.teacher.requires_grad
    assert pair.weight is None and pair.avg_factor == len(logits)


def test_order_of_the_teachers_rows(retinas):
    """By loops over levels, images, rows, columns and anchors."""
    student, teacher = retinas
    pair, record, _ = one_pass(DenseLogits('all'), student, teacher)
    data = student.data_preprocessor(raw_batch(), True)
    levels = teacher.bbox_head(teacher.extract_feat(data['inputs']))[0]
    rows = [
        level[b, a * 80 : a * 80 + 80, y, x]
        for level in levels
        for b in range(2)
        for y in range(level.shape[2])
        for x in range(level.shape[3])
        for a in range(2)
    ]
    assert torch.allclose(pair.teacher, torch.stack(rows), atol=1e-6)


def test_which_locations_count(retinas):
    full, *_ = one_pass(DenseLogits('all'), *retinas)
    keep = full.labels < 80
    assert 0 < keep.sum() < len(keep)
    pair, *_ = one_pass(DenseLogits('positives'), *retinas)
    assert torch.equal(pair.student, full.student[keep])
    assert torch.equal(pair.teacher, full.teacher[keep])
    assert pair.avg_factor == keep.sum() and pair.foreground.all()
    pair, *_ = one_pass(DenseLogits('teacher'), *retinas)
    expected = full.teacher.sigmoid().max(1).values
    assert torch.allclose(pair.weight, expected)
    assert pair.avg_factor == pytest.approx(expected.sum().item())
    for hook in ('all', 'positives', 'teacher'):
        pair, *_ = one_pass(DenseLogits(hook), *retinas)
        (grad,) = torch.autograd.grad(
            pair.student.sum(), retinas[0].bbox_head.retina_cls.weight
        )
        assert grad.abs().sum() > 0
    with pytest.raises(ValueError, match="'some'"):
        DenseLogits('some')


def test_divisor_is_the_mean_over_processes(retinas, monkeypatch):
    pair, *_ = one_pass(DenseLogits('positives'), *retinas)
    count = len(pair.student)
    # The other process has no positives at all.
    monkeypatch.setattr(logit_pair, 'all_reduce', lambda x, _: x.div_(2))
    pair, *_ = one_pass(DenseLogits('positives'), *retinas)
    assert pair.avg_factor == count / 2


def test_images_without_objects(retinas):
    batch = raw_batch()
    for sample in batch['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    pair, *_ = one_pass(DenseLogits('positives'), *retinas, batch)
    assert len(pair.student) == 0 and pair.avg_factor > 0
    pair, *_ = one_pass(DenseLogits('teacher'), *retinas, batch)
    assert len(pair.student) and not pair.foreground.any()


def test_softmax_heads():
    options = {
        'model.bbox_head.loss_cls': dict(
            _delete_=True, type='CrossEntropyLoss', use_sigmoid=False
        )
    }
    student = detector('retinanet', **options).train()
    teacher = detector('retinanet', 'r50-quarter', 1, **options).eval()
    teacher.requires_grad_(False)
    pair, *_ = one_pass(DenseLogits(), student, teacher)
    assert pair.student.shape[1] == 81
    expected = pair.teacher.softmax(1)[:, :80].max(1).values
    assert torch.allclose(pair.weight, expected)
    with pytest.raises(ValueError, match='by softmax and the teacher by sigm'):
        DenseLogits().check(student, detector('retinanet'))


def test_other_grids_are_refused_with_both(retinas):
    student, teacher = retinas
    generator = 'model.bbox_head.anchor_generator'
    other = detector('retinanet', **{f'{generator}.strides': [8, 16, 32, 64]})
    with pytest.raises(ValueError, match='same locations') as error:
        DenseLogits().check(student, other)
    assert 'stride 4x4' in str(error.value)
    assert 'stride 64x64' in str(error.value)
    other = detector('retinanet', **{f'{generator}.scales': [4]})
    with pytest.raises(ValueError, match='same strides and anchors'):
        DenseLogits().check(student, other)
    # The same grid, but images padded otherwise.
    hook = DenseLogits()
    data = student.data_preprocessor(raw_batch(), True)
    with hook.record(student) as record:
        student(**data, mode='loss')
    features = teacher.extract_feat(torch.zeros(2, 3, 96, 128))
    with pytest.raises(ValueError, match='pad_size_divisor') as error:
        hook.replay(teacher, features, record)
    assert '(2, 24, 24)' in str(error.value)
    assert '(2, 24, 32)' in str(error.value)
    # Nor are held-out images compared on two grids.
    wide = detector(
        'retinanet',
        'r50-quarter',
        1,
        **{'model.data_preprocessor.pad_size_divisor': 128},
    )
    for pair in ((student, wide), (wide, student)):
        with pytest.raises(ValueError, match='pad_size_divisor') as error:
            hook.held_out(*(m.eval() for m in pair), raw_batch())
        assert '(2, 24, 24)' in str(error.value)
        assert '(2, 32, 32)' in str(error.value)
    student.train()


def test_kinds_that_are_refused(retinas, project):
    student, teacher = retinas
    two_stage = build(Config.fromfile(project / 'student.py').model)
    with pytest.raises(TypeError, match='the teacher, a FasterRCNN.*RoILog'):
        DenseLogits().check(student, two_stage)
    with pytest.raises(TypeError, match='the student.*DenseLogits'):
        RoILogits().check(student, two_stage)
    config = Config.fromstring(
        "_base_ = 'mmdet::tood/tood_r50_fpn_1x_coco.py'", '.py'
    )
    with pytest.raises(TypeError, match='has a TOODHead'):
        DenseLogits().check(student, build(config.model))
    for name in ('detr/detr_r50_8xb2-150e', 'dino/dino-4scale_r50_8xb2-12e'):
        config = Config.fromstring(f"_base_ = 'mmdet::{name}_coco.py'", '.py')
        with pytest.raises(TypeError, match='there is QueryLogits'):
            DenseLogits().check(student, build(config.model))
    other = detector('retinanet', **{'model.bbox_head.num_classes': 20})
    with pytest.raises(ValueError, match='80 classes and the teacher 20'):
        DenseLogits().check(student, other)


def test_the_head_is_left_as_it_was(retinas):
    student = retinas[0]
    with pytest.raises(KeyError):
        with DenseLogits().record(student):
            raise KeyError
    assert not student.bbox_head._forward_hooks
    assert not student.bbox_head.loss_cls._forward_pre_hooks
    with pytest.raises(RuntimeError, match='no logits to distil'):
        with DenseLogits().record(student):
            pass


def test_a_loss_that_sees_other_rows(retinas):
    """Such as a head that classifies its positives alone."""
    student, teacher = retinas
    hook = DenseLogits()
    data = student.data_preprocessor(raw_batch(), True)
    with hook.record(student) as record:
        student(**data, mode='loss')
    features = teacher.extract_feat(data['inputs'])
    for labels in (record.labels[:2], []):
        record.labels = labels
        with pytest.raises(RuntimeError, match='one for each is needed'):
            hook.replay(teacher, features, record)


def test_held_out_rows_are_where_the_teacher_is_most_confident(retinas):
    student, teacher = (m.eval() for m in retinas)
    batch = raw_batch()
    of_student, of_teacher = DenseLogits().held_out(student, teacher, batch)
    data = teacher.data_preprocessor(batch, False)
    levels = teacher.bbox_head(teacher.extract_feat(data['inputs']))[0]
    assert of_student.shape == of_teacher.shape == (20, 80)
    for image in range(2):
        scores = torch.cat(
            [
                x[image].reshape(2, 80, -1).amax(1).flatten().sigmoid()
                for x in levels
            ]
        )
        found = confidence(of_teacher[10 * image : 10 * image + 10], False)
        assert torch.allclose(found, scores.topk(10).values, atol=1e-6)
    student.train()


def image_of_rows(model, inputs):
    """Image of each row, in the order of the head's loss."""
    index = []
    for level in model.bbox_head(model.extract_feat(inputs))[0]:
        places = 2 * level.shape[2] * level.shape[3]
        index += [image for image in range(2) for _ in range(places)]
    return torch.tensor(index)


@pytest.mark.parametrize('locations', ['all', 'positives', 'teacher'])
@pytest.mark.parametrize('mapped', [False, True])
@torch.no_grad()
def test_held_out_rows_are_as_in_training(retinas, locations, mapped):
    """The same choice by hand, of all rows that training sees."""
    student, teacher = (m.eval() for m in retinas)
    batch = raw_batch()
    inputs = student.data_preprocessor(raw_batch(), False)['inputs']
    columns = torch.arange(3, 80) if mapped else torch.arange(80)
    # An object of class 1, which is not shared, where the teacher is best.
    levels = teacher.bbox_head(teacher.extract_feat(inputs))[0]
    best = max(
        (level.view(2, 2, 80, *level.shape[2:])[0, a, columns].max(), n, a)
        for n, level in enumerate(levels)
        for a in range(2)
    )
    level = levels[best[1]].view(2, 2, 80, *levels[best[1]].shape[2:])
    place = level[0, best[2]][columns].amax(0).flatten().argmax()
    anchors = teacher.bbox_head.prior_generator.grid_priors(
        [x.shape[2:] for x in levels], device='cpu'
    )[best[1]]
    objects = batch['data_samples'][0].gt_instances
    objects.bboxes[0] = anchors[2 * place + best[2]]
    objects.labels[:] = torch.tensor([1, 5])
    full, *_ = one_pass(DenseLogits('all'), student, teacher, batch)
    images = image_of_rows(student, inputs)
    labels = full.labels
    keep = labels < 80 if locations == 'positives' else labels <= 80
    hook = DenseLogits(locations, 'names' if mapped else None)
    if mapped:
        names = [f'c{i}' for i in range(80)]
        hook.class_map.match(names, ['x', 'y', 'z'] + names[3:])
        keep &= labels > 2
    rows = [x[:, columns] for x in (full.student, full.teacher)]
    scores = rows[1].amax(1).where(keep, torch.tensor(-torch.inf))
    expected = []
    for image in range(2):
        of_image = scores.where(images == image, torch.tensor(-torch.inf))
        count = 10
        if locations == 'positives':
            count = (keep & (images == image)).sum()
        expected.append(of_image.topk(count).indices)
    expected = torch.cat(expected)
    found = hook.held_out(student, teacher, batch)
    if locations == 'positives':
        # Their order is of no account.
        assert len(expected)
        found = torch.cat(found, 1).sort(0).values
        rows = torch.cat(rows, 1)[expected].sort(0).values
        assert torch.allclose(found, rows, atol=1e-5)
        return
    first = rows[1][images == 0].amax(1).argmax()
    assert labels[images == 0][first] == 1
    for x, y in zip(found, rows):
        assert torch.allclose(x, y[expected], atol=1e-5)


def test_shared_classes(retinas):
    names = [f'c{i}' for i in range(80)]
    of_teacher = names[3:] + ['x', 'y', 'z']
    full, *_ = one_pass(DenseLogits('all'), *retinas)
    hook = DenseLogits('all', class_map='names')
    hook.class_map.match(names, of_teacher)
    pair, *_ = one_pass(hook, *retinas)
    # Objects of class 0 and 2 are none of the teacher's.
    keep = full.labels == 80
    assert torch.equal(pair.student, full.student[keep][:, 3:])
    assert torch.equal(pair.teacher, full.teacher[keep][:, :77])
    assert (pair.labels == 77).all()
    hook = DenseLogits('positives', class_map=dict(c2='z', c0='c5'))
    hook.class_map.match(names, of_teacher)
    pair, *_ = one_pass(hook, *retinas)
    keep = full.labels < 80
    assert torch.equal(pair.student, full.student[keep][:, [2, 0]])
    assert torch.equal(pair.teacher, full.teacher[keep][:, [79, 2]])
    expected = torch.where(full.labels[keep] == 2, 0, 1)
    assert torch.equal(pair.labels, expected)


def test_class_maps_that_cannot_be():
    both = (['cat', 'dog', 'cow'], ['dog', 'cat', 'bus'])
    for pairs in ('name', {}, 3):
        with pytest.raises(ValueError, match='class_map must be'):
            ClassMap(pairs)
    for pairs, message in (
        (dict(cat='cat', cow='moo'), "'moo', which is no class of the teac"),
        (dict(cat='cat', pig='dog'), "'pig', which is no class of the train"),
        (dict(cat='cat', dog='cat'), 'twice'),
        (dict(cat='cat'), 'share 1 classes'),
    ):
        with pytest.raises(ValueError, match=message):
            ClassMap(pairs).match(*both)
    with pytest.raises(ValueError, match='share 0 classes'):
        ClassMap('names').match(['a', 'b'], ['c', 'd'])
    with pytest.raises(ValueError, match="the teacher's class names"):
        ClassMap('names').match(both[0], None)
    with pytest.raises(ValueError, match="the student's class names"):
        ClassMap('names').match(None, both[1])
    classes = ClassMap('names')
    classes.match(*both)
    logits = torch.zeros(2, 3)
    assert classes.columns(logits, logits, False)[0].shape == (2, 2)
    with pytest.raises(ValueError, match='teacher has logits of 2 classes'):
        classes.columns(logits, logits[:, :2], False)
