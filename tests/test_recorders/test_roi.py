import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox2roi
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config

from mmdet_rankkd.engine.check_teacher import check_teacher
from mmdet_rankkd.losses import KLDivLoss, kl_div_loss
from mmdet_rankkd.recorders import RoILogits

from ..helpers import build, make_runner, raw_batch, save_teacher


@pytest.fixture(scope='module')
def detectors(project):
    torch.manual_seed(0)
    return [
        build(Config.fromfile(project / f'{name}.py').model)
        for name in ('student', 'teacher')
    ]


def replay(hook, detectors, batch=None):
    """The hook's pair, and what it recorded."""
    student, teacher = detectors[0].train(), detectors[1].eval()
    hook.check(student, teacher)
    data = student.data_preprocessor(batch or raw_batch(), True)
    torch.manual_seed(0)
    with hook.record(student) as record:
        student(**data, mode='loss')
    teacher.requires_grad_(False)
    features = teacher.extract_feat(data['inputs'])
    pair = hook.replay(teacher, features, record)
    assert pair.student.requires_grad and not pair.teacher.requires_grad
    return pair, record[0]


def test_rows_are_the_sampled_boxes(detectors):
    pair, record = replay(RoILogits(), detectors)
    rows = len(record.rois)
    assert pair.student.shape == pair.teacher.shape == (rows, 4)
    assert pair.labels.shape == pair.weight.shape == (rows,)
    assert pair.avg_factor == rows
    # Two ground-truth boxes in each image, of classes 0 and 2.
    labels = set(pair.labels.tolist())
    assert {0, 2} <= labels <= {0, 2, 3}


def test_without_background(detectors):
    full, _ = replay(RoILogits(), detectors)
    pair, _ = replay(RoILogits(background=False), detectors)
    assert torch.equal(pair.student, full.student[:, :3])
    assert torch.equal(pair.teacher, full.teacher[:, :3])


def test_positives_only(detectors):
    full, record = replay(RoILogits(), detectors)
    pair, _ = replay(RoILogits(positives_only=True), detectors)
    keep = record.labels < 3
    assert 0 < keep.sum() < len(keep)
    assert torch.equal(pair.student, full.student[keep])
    assert torch.allclose(pair.teacher, full.teacher[keep], atol=1e-6)
    assert pair.avg_factor == keep.sum()


def test_no_positives_at_all(detectors, project, distill_cfg):
    batch = raw_batch()
    for sample in batch['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    pair, _ = replay(RoILogits(positives_only=True), detectors, batch)
    assert pair.student.shape == (0, 4) and pair.avg_factor > 0
    distill_cfg.model.logits.positives_only = True
    model = build(distill_cfg.model).train()
    batch = raw_batch()
    for sample in batch['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    assert losses['loss_kd'] == losses['loss_rank'] == 0
    assert 'kendall_tau' not in losses
    model.parse_losses(losses)[0].backward()


def test_the_head_is_left_as_it_was(detectors):
    student = detectors[0]
    head = student.roi_head.bbox_head
    with pytest.raises(KeyError):
        with RoILogits().record(student):
            assert 'loss_and_target' in vars(head)
            raise KeyError
    assert 'loss_and_target' not in vars(head)
    with pytest.raises(RuntimeError, match='no logits to distil'):
        with RoILogits().record(student):
            pass


def test_kinds_that_are_refused(detectors):
    retina = torch.nn.Module()
    with pytest.raises(TypeError, match='the teacher, a Module, has no'):
        RoILogits().check(detectors[0], retina)
    with pytest.raises(TypeError, match='the student, a Module'):
        RoILogits().check(retina, detectors[1])


def test_background_needs_the_common_layout(detectors):
    student, teacher = detectors
    head = teacher.roi_head.bbox_head
    original = head.fc_cls
    head.fc_cls = torch.nn.Linear(256, 7)
    with pytest.raises(ValueError, match='num_classes \\+ 1'):
        RoILogits(background=False).check(student, teacher)
    head.fc_cls = original


def mask_rcnn(project, name):
    """The user's detector with a mask head."""
    config = Config.fromfile(project / f'{name}.py').model
    donor = Config.fromstring(
        "_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'", '.py'
    ).model
    config.type = 'MaskRCNN'
    for part in ('mask_roi_extractor', 'mask_head'):
        config.roi_head[part] = donor.roi_head[part]
    config.roi_head.mask_roi_extractor.out_channels = 64
    config.roi_head.mask_head.update(
        in_channels=64, conv_out_channels=16, num_classes=3
    )
    config.train_cfg.rcnn.mask_size = 28
    return config


def test_mask_rcnn(project, distill_cfg, tmp_path):
    teacher = mask_rcnn(project, 'teacher')
    path = tmp_path / 'mask.pth'
    torch.save(dict(state_dict=build(teacher).state_dict()), path)
    distill_cfg.model.student = mask_rcnn(project, 'student')
    distill_cfg.model.teacher = dict(
        config=dict(model=teacher.to_dict()), checkpoint=str(path)
    )
    model = build(distill_cfg.model).train()
    batch = raw_batch()
    for image, sample in zip(batch['inputs'], batch['data_samples']):
        masks = np.zeros((2, *image.shape[1:]), np.uint8)
        masks[:, 10:40, 10:40] = 1
        sample.gt_instances.masks = BitmapMasks(masks, *image.shape[1:])
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    assert {'loss_mask', 'loss_kd', 'loss_rank'} <= set(losses)
    model.parse_losses(losses)[0].backward()


@pytest.mark.parametrize(
    'options', [dict(background=False), dict(positives_only=True)]
)
def test_options_keep_the_students_gradient(options, distill_cfg):
    """Through the wrapper: the choice of rows and columns is in the graph."""
    distill_cfg.model.logits.update(options)
    model = build(distill_cfg.model).train()
    losses = model(**model.data_preprocessor(raw_batch(), True), mode='loss')
    weight = model.student.roi_head.bbox_head.fc_cls.weight
    for name in ('loss_kd', 'loss_rank'):
        (grad,) = torch.autograd.grad(losses[name], weight, retain_graph=True)
        assert grad.abs().sum() > 0


def cascade(project, name, stages=2):
    """The user's detector as a Cascade R-CNN."""
    config = Config.fromfile(project / f'{name}.py').model
    head, rcnn = config.roi_head.bbox_head, config.train_cfg.rcnn
    head.reg_class_agnostic = True
    config.type = 'CascadeRCNN'
    config.roi_head.update(
        type='CascadeRoIHead',
        num_stages=stages,
        stage_loss_weights=[1, 0.25, 0.5][:stages],
        bbox_head=[head.copy() for _ in range(stages)],
    )
    config.train_cfg.rcnn = [rcnn.copy() for _ in range(stages)]
    return config


@pytest.fixture(scope='module')
def cascades(project):
    torch.manual_seed(0)
    return [build(cascade(project, n)) for n in ('student', 'teacher')]


def test_cascade_stages_have_their_own_boxes(cascades, monkeypatch):
    student, teacher = cascades
    seen = []
    bbox_loss = student.roi_head.bbox_loss

    def listen(stage, *args):
        result = bbox_loss(stage, *args)
        seen.append((stage, result['rois'], result['cls_score']))
        return result

    monkeypatch.setattr(student.roi_head, 'bbox_loss', listen)
    hook = RoILogits()
    hook.check(student, teacher)
    student.train()
    data = student.data_preprocessor(raw_batch(), True)
    with hook.record(student) as record:
        student(**data, mode='loss')
    assert [s[0] for s in seen] == [0, 1] and len(record) == 2
    assert not torch.equal(record[0].rois, record[1].rois)
    teacher.eval().requires_grad_(False)
    features = teacher.extract_feat(data['inputs'])
    pair = hook.replay(teacher, features, record)
    rows = [
        teacher.roi_head._bbox_forward(i, features, rois)['cls_score']
        for i, rois, _ in seen
    ]
    assert torch.allclose(pair.teacher, torch.cat(rows), atol=1e-5)
    assert torch.equal(pair.student, torch.cat([s[2] for s in seen]))
    assert pair.student.requires_grad and not pair.teacher.requires_grad
    # The KD loss is the sum over stages of their weighted means.
    loss = KLDivLoss()
    found = loss(
        pair.student, pair.teacher, pair.weight, pair.avg_factor
    ).item()
    expected = sum(
        weight * kl_div_loss(s[2], t).item()
        for weight, s, t in zip((1, 0.25), seen, rows)
    )
    assert found == pytest.approx(expected, rel=1e-5)


def test_cascade_through_the_wrapper(project, distill_cfg, tmp_path):
    config = cascade(project, 'teacher')
    path = tmp_path / 'cascade.pth'
    torch.save(dict(state_dict=build(config).state_dict()), path)
    distill_cfg.model.student = cascade(project, 'student')
    distill_cfg.model.teacher = dict(
        config=dict(model=config.to_dict()), checkpoint=str(path)
    )
    distill_cfg.model.logits.positives_only = True
    runner = make_runner(distill_cfg)
    runner.train()
    values = runner.message_hub.log_scalars['train/loss_rank'].data[0]
    assert len(values) and np.isfinite(values).all()
    model = runner.model
    assert 'loss_and_target' not in vars(model.student.roi_head.bbox_head[0])
    logits = model.logits.held_out(
        model.student.eval(),
        model.teacher.model,
        next(iter(runner.val_dataloader)),
    )
    assert logits[0].shape == logits[1].shape


def test_unlike_stages_are_refused(detectors, cascades, project):
    with pytest.raises(ValueError, match='1 box heads and the teacher 2'):
        RoILogits().check(detectors[0], cascades[1])
    three = build(cascade(project, 'teacher', 3))
    with pytest.raises(ValueError, match='2 box heads and the teacher 3'):
        RoILogits().check(cascades[0], three)


def test_shared_classes(detectors):
    full, record = replay(RoILogits(), detectors)
    hook = RoILogits(class_map=dict(washer='disc', bolt='bolt'))
    hook.class_map.match(('bolt', 'nut', 'washer'), ('disc', 'screw', 'bolt'))
    pair, _ = replay(hook, detectors)
    # No box is of class 1, the nut; background goes on as column 2.
    assert torch.equal(pair.student, full.student[:, [2, 0, 3]])
    assert torch.equal(pair.teacher, full.teacher[:, [0, 2, 3]])
    expected = torch.tensor([1, -1, 0, 2])[full.labels]
    assert torch.equal(pair.labels, expected)
    # Boxes of objects that are not shared are left out.
    hook = RoILogits(class_map=dict(washer='disc', nut='bolt'))
    hook.class_map.match(('bolt', 'nut', 'washer'), ('disc', 'screw', 'bolt'))
    pair, _ = replay(hook, detectors)
    keep = full.labels != 0
    assert 0 < keep.sum() < len(keep)
    assert torch.equal(pair.student, full.student[keep][:, [2, 1, 3]])
    assert pair.avg_factor == keep.sum()
    hook = RoILogits(class_map='names', positives_only=True, background=False)
    hook.class_map.match(('bolt', 'nut', 'washer'), ('nut', 'bolt', 'x'))
    pair, _ = replay(hook, detectors)
    keep = full.labels < 2
    assert torch.equal(pair.student, full.student[keep][:, :2])


@pytest.mark.parametrize(
    'options, columns, objects',
    [
        (dict(), [0, 1, 2, 3], [0, 1, 2, 3]),
        (dict(background=False), [0, 1, 2], [0, 1, 2, 3]),
        (dict(positives_only=True), [0, 1, 2, 3], [0, 1, 2, 3]),
        # The first box of each image is of class 0, the second of class 2.
        (dict(class_map=dict(b='y', c='x')), [1, 2, 3], [1, 3]),
        (dict(class_map=dict(b='y', a='z'), background=False), [1, 0], [0, 2]),
    ],
)
def test_held_out_rows_are_as_in_training(
    detectors, options, columns, objects
):
    """The ground-truth boxes are among the rows that training compares."""
    student, teacher = (m.eval() for m in detectors)
    hook = RoILogits(**options)
    if hook.class_map is not None:
        hook.class_map.match('abc', 'xyz')
    data = student.data_preprocessor(raw_batch(), False)
    with torch.no_grad():
        with hook.record(student) as record:
            student(**data, mode='loss')
        features = teacher.extract_feat(data['inputs'])
        pair = hook.replay(teacher, features, record)
        found = hook.held_out(student, teacher, raw_batch())
        samples = raw_batch()['data_samples']
        boxes = bbox2roi([s.gt_instances.bboxes for s in samples])
        features = student.extract_feat(data['inputs'])
        logits = student.roi_head._bbox_forward(features, boxes)['cls_score']
    expected = logits[objects][:, columns]
    assert torch.allclose(found[0], expected, atol=1e-5)
    rows = torch.cat([pair.student, pair.teacher], 1)
    for row in torch.cat(found, 1):
        assert torch.isclose(rows, row, atol=1e-5).all(1).any()


def test_held_out_without_objects(detectors):
    batch = raw_batch()
    for sample in batch['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    with torch.no_grad():
        found = RoILogits().held_out(*(m.eval() for m in detectors), batch)
    assert [x.shape for x in found] == [(0, 4), (0, 4)]


def test_class_map_by_the_names_of_set_and_checkpoint(
    project, distill_cfg, tmp_path
):
    """A teacher of other classes: refused without a map, used with one."""
    distill_cfg.train_cfg.val_interval = 9
    text = (project / 'teacher.py').read_text()
    config = tmp_path / 'teacher.py'
    config.write_text(text.replace('num_classes=3', 'num_classes=4'))
    names = ('gear', 'washer', 'nut', 'screw')
    save_teacher(
        config, tmp_path / 'teacher.pth', dataset_meta=dict(classes=names)
    )
    distill_cfg.model.teacher = dict(
        config=str(config), checkpoint=str(tmp_path / 'teacher.pth')
    )
    with pytest.raises(ValueError, match="class_map='names'"):
        make_runner(distill_cfg).train()
    distill_cfg.model.logits.class_map = 'names'
    runner = make_runner(distill_cfg)
    runner.train()
    found = runner.model.logits.class_map
    assert found.student.tolist() == [1, 2]
    assert found.teacher.tolist() == [2, 1]
    values = runner.message_hub.log_scalars['train/loss_kd'].data[0]
    assert (np.array(values) > 0).all()
    facts = check_teacher(distill_cfg)
    assert facts['shared classes'] == 'nut, washer'
    assert 'own config' in facts['AP']
    # Names can also be given by hand.
    save_teacher(config, tmp_path / 'nameless.pth', epoch=1)
    distill_cfg.model.teacher.checkpoint = str(tmp_path / 'nameless.pth')
    with pytest.raises(ValueError, match='classes=\\[...\\]'):
        make_runner(distill_cfg).train()
    distill_cfg.model.teacher.classes = names
    make_runner(distill_cfg).train()
