import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config

from mmdet_rankkd.logits import RoILogits

from ..conftest import build, raw_batch


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
    assert pair.student.shape == (0, 4) and pair.avg_factor == 1
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
