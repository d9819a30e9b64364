"""Mask logits: the student's boxes, the teacher's own masks, stages."""

import pytest
import torch

from mmdet_rankkd.losses import MaskKDLoss, binary_kl_div_loss, mask_kd_loss
from mmdet_rankkd.recorders import ClassMap, MaskLogits
from mmdet_rankkd.structures import DistillBatch, LogitPair

from ..setups import (
    SETUPS,
    batch_of,
    build_model,
    distiller_config,
    save_teacher,
    with_masks,
)
from ..test_losses.maps import gradcheck, maps


def networks(cascade=False):
    """Student and teacher of seeded weights, and a batch."""
    setup = with_masks(cascade)
    models = []
    for seed, config in enumerate((setup.student, setup.teacher)):
        torch.manual_seed(seed)
        models.append(build_model(config))
    student, teacher = models[0].train(), models[1].eval()
    teacher.requires_grad_(False)
    return student, teacher, student.data_preprocessor(batch_of(setup), True)


def recorded(student, teacher, data):
    recorder = MaskLogits()
    recorder.check(student, teacher)
    with recorder.record(student) as record:
        losses = student(**data, mode='loss')
    features = teacher.extract_feat(data['inputs'])
    return recorder.replay(teacher, features, record), record, losses, features


def test_masks_are_those_of_the_students_own_loss():
    """The mask loss of MMDetection follows from the recorded pass."""
    student, teacher, data = networks()
    heard = []
    student.roi_head.mask_head.loss_mask.register_forward_pre_hook(
        lambda _, inputs: heard.append(inputs)
    )
    pair, (stage,), losses, features = recorded(student, teacher, data)
    ((logits, targets, labels),) = heard
    assert torch.equal(pair.labels, labels) and len(labels) > 2
    rows = torch.arange(len(labels))
    own = logits[rows, labels].flatten(1)
    assert torch.equal(pair.student, own) and pair.student.requires_grad
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        own, targets.flatten(1)
    )
    torch.testing.assert_close(losses['loss_mask'].squeeze(), expected)
    # The teacher's masks of the same boxes, one by one.
    for i in (0, len(labels) - 1):
        one = teacher.roi_head._mask_forward(features, stage.rois[i : i + 1])
        mask = one['mask_preds'][0, labels[i]].flatten()
        torch.testing.assert_close(pair.teacher[i], mask)
    assert not pair.teacher.requires_grad
    assert pair.avg_factor == len(labels) and pair.weight is None
    # Boxes are on the objects of their image.
    for image in (0, 1):
        boxes = stage.rois[stage.rois[:, 0] == image, 1:]
        assert len(boxes) and boxes.min() >= 0 and boxes.max() <= 96


def test_stages_of_a_cascade():
    student, teacher, data = networks(cascade=True)
    pair, record, _, features = recorded(student, teacher, data)
    assert [x.stage_weight for x in record] == [1, 0.5]
    counts = [len(x.rois) for x in record]
    expected = 0.0
    for i, stage in enumerate(record):
        target = teacher.roi_head._mask_forward(i, features, stage.rois)
        rows = torch.arange(counts[i])
        masks = [
            x[rows, stage.labels].flatten(1)
            for x in (stage.logits, target['mask_preds'])
        ]
        part = binary_kl_div_loss(*masks) / masks[0].shape[1]
        expected = expected + stage.stage_weight * part
    batch = DistillBatch(
        LogitPair(torch.zeros(0, 3), torch.zeros(0, 3)), student, masks=pair
    )
    value = MaskKDLoss(loss_weight=2.0).distill(batch)
    torch.testing.assert_close(value, 2 * expected)
    value.backward()
    for head in student.roi_head.mask_head:
        assert head.conv_logits.weight.grad.any()
    batch.masks = None
    with pytest.raises(ValueError, match='MaskKDLoss needs the masks'):
        MaskKDLoss().distill(batch)


@pytest.mark.parametrize('agnostic', [(True, True), (True, False)])
def test_one_mask_for_all_classes(agnostic):
    setup = with_masks()
    models = []
    for flag, config in zip(agnostic, (setup.student, setup.teacher)):
        config['roi_head']['mask_head']['class_agnostic'] = flag
        models.append(build_model(config))
    student, teacher = models
    data = student.data_preprocessor(batch_of(setup), True)
    pair, (stage,), *_ = recorded(student.train(), teacher.eval(), data)
    assert stage.logits.shape[1] == 1
    assert torch.equal(pair.student, stage.logits[:, 0].flatten(1))
    assert pair.teacher.shape == pair.student.shape


@pytest.mark.parametrize('cascade', [False, True])
def test_images_without_objects(cascade):
    student, teacher, data = networks(cascade)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    pair, *_ = recorded(student, teacher, data)
    assert len(pair.student) == 0
    value = MaskKDLoss()(
        pair.student, pair.teacher, pair.weight, pair.avg_factor
    )
    value.backward()
    assert value == 0


def test_a_step_beside_other_losses(tmp_path):
    """Of a whole distiller; with the masks, the gradient of the mask head."""
    setup = SETUPS['mask-rcnn']()
    save_teacher(setup, tmp_path / 'teacher.pth')
    losses = [
        dict(type='mmdet_rankkd.KLDivLoss'),
        dict(type='mmdet_rankkd.MaskKDLoss', temperature=2.0),
    ]
    config = distiller_config(setup, tmp_path / 'teacher.pth', losses)
    torch.manual_seed(0)
    model = build_model(config).train()
    data = model.data_preprocessor(batch_of(setup), True)
    result = model(**data, mode='loss')
    result['loss_mask_kd'].backward()
    assert result['loss_mask_kd'] > 0 and result['loss_kd'] > 0
    head = model.student.roi_head
    assert head.mask_head.conv_logits.weight.grad.any()
    assert head.bbox_head.fc_cls.weight.grad is None


def test_what_cannot_be_compared(tmp_path):
    setup = with_masks()
    student = build_model(setup.student)
    plain = build_model(SETUPS['faster-rcnn']().teacher)
    with pytest.raises(TypeError, match='the teacher has none'):
        MaskLogits().check(student, plain)
    atss = build_model(SETUPS['atss']().teacher)
    with pytest.raises(TypeError, match='needs a detector with a StandardRoI'):
        MaskLogits().check(student, atss)
    cascade = build_model(with_masks(cascade=True).teacher)
    with pytest.raises(ValueError, match='1 mask heads and the teacher 2'):
        MaskLogits().check(student, cascade)
    head = setup.teacher['roi_head']
    head['mask_head']['num_classes'] = 5
    with pytest.raises(ValueError, match='masks of 3 classes and the teacher'):
        MaskLogits().check(student, build_model(setup.teacher))
    head['mask_head']['num_classes'] = 3
    head['mask_roi_extractor']['roi_layer']['output_size'] = 14
    with pytest.raises(ValueError, match=r'of \(14, 14\) pixels and the teac'):
        MaskLogits().check(student, build_model(setup.teacher))
    # A student that trains without its mask head.
    recorder = MaskLogits()
    with pytest.raises(RuntimeError, match='no masks to distil'):
        with recorder.record(student):
            pass


def test_the_loss_itself():
    """The mean over masks of the mean over pixels."""
    s, t = maps(5, 6), maps(5, 6, seed=1)
    rows = binary_kl_div_loss(s, t, temperature=3, reduction='none') / 6
    found = mask_kd_loss(s, t, temperature=3)
    torch.testing.assert_close(found, rows.mean())
    weight = torch.arange(5.0).double()
    found = mask_kd_loss(s, t, temperature=3, weight=weight, avg_factor=2.0)
    torch.testing.assert_close(found, (rows * weight).sum() / 2)
    gradcheck(lambda x: mask_kd_loss(x, t, weight=weight), s)
    for shape in ((0, 6), (3, 0)):
        x = torch.ones(shape, requires_grad=True)
        value = mask_kd_loss(x, torch.ones(shape))
        value.backward()
        assert value == 0
    for dtype in (torch.float16, torch.bfloat16):
        a, b = s.to(dtype), t.to(dtype)
        value, exact = mask_kd_loss(a, b), mask_kd_loss(a.double(), b.double())
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    with pytest.raises(ValueError, match='temperature must be positive'):
        MaskKDLoss(temperature=0)


def test_classes_in_another_order():
    """Of each box, the teacher's mask of the class of the same name."""
    student, teacher, data = networks()
    class_map = ClassMap(dict(bolt='disc', washer='screw'))
    class_map.match(('bolt', 'nut', 'washer'), ('screw', 'disc', 'rod'))
    recorder = MaskLogits(class_map)
    recorder.check(student, teacher)
    for sample in data['data_samples']:
        sample.gt_instances.labels = torch.tensor([0, 1])
    data['data_samples'][0].gt_instances.labels[1] = 2
    with recorder.record(student) as record:
        student(**data, mode='loss')
    features = teacher.extract_feat(data['inputs'])
    pair = recorder.replay(teacher, features, record)
    (stage,) = record
    keep = stage.labels != 1
    assert set(stage.labels.tolist()) == {0, 1, 2}
    assert torch.equal(pair.labels, stage.labels[keep])
    assert pair.avg_factor == keep.sum() < len(keep)
    rows = torch.arange(len(keep))
    own = stage.logits[rows, stage.labels].flatten(1)[keep]
    assert torch.equal(pair.student, own)
    masks = teacher.roi_head._mask_forward(features, stage.rois[keep])
    columns = torch.where(pair.labels == 0, 1, 0)
    expected = masks['mask_preds'][rows[: len(columns)], columns].flatten(1)
    torch.testing.assert_close(pair.teacher, expected)


def test_a_teacher_of_more_classes(tmp_path):
    """The class_map of the logits is that of the masks."""
    setup = with_masks()
    for head in ('bbox_head', 'mask_head'):
        setup.teacher['roi_head'][head]['num_classes'] = 5
    save_teacher(setup, tmp_path / 'teacher.pth')
    setup.logits['class_map'] = dict(bolt='e', nut='d', washer='a')
    losses = [dict(type='mmdet_rankkd.MaskKDLoss')]
    config = distiller_config(setup, tmp_path / 'teacher.pth', losses)
    model = build_model(config)
    maps = [model.recorders[x].class_map for x in ('logits', 'masks')]
    assert maps[0] is maps[1] is not None
    teacher = build_model(setup.teacher)
    model.recorders['masks'].check(model.student, teacher)
    with pytest.raises(ValueError, match="5; masks are .*class_map='names'"):
        MaskLogits().check(model.student, teacher)


def test_a_layer_before_both_heads():
    """As of Mask R-CNN without FPN: its channels and size are probed."""
    setup = with_masks()
    models = []
    for config in (setup.student, setup.teacher):
        config['roi_head']['mask_head']['in_channels'] = 8
        models.append(build_model(config).train())
        models[-1].roi_head.shared_head = torch.nn.Sequential(
            torch.nn.Conv2d(64, 8, 1), torch.nn.BatchNorm2d(8)
        )
    MaskLogits().check(*models)
    assert all(x.training for m in models for x in m.roi_head.modules())
    statistics = models[0].roi_head.shared_head[1].running_var
    assert torch.equal(statistics, torch.ones(8))
    models[1].roi_head.shared_head.append(torch.nn.MaxPool2d(2))
    with pytest.raises(ValueError, match=r"\(14, 14\).*teacher's of \(6, 6\)"):
        MaskLogits().check(*models)
