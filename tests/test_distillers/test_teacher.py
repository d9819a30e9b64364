import copy

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox2roi
from mmengine.config import Config
from torch import nn

from mmdet_rankkd.checkpoint.build import build_model, load_config
from mmdet_rankkd.distillers import Teacher
from mmdet_rankkd.distillers.teacher import compare_classes, fold_norms

from ..helpers import (
    CLASSES,
    ROOT,
    build,
    make_runner,
    raw_batch,
    save_teacher,
)
from .test_detector import loss_pass


@pytest.fixture
def model(distill_cfg):
    torch.manual_seed(0)
    return build(distill_cfg.model).train()


def first_step_error(cfg, exception):
    """The message with which training stops before its first step."""
    with pytest.raises(exception) as info:
        make_runner(cfg).train()
    return str(info.value)


def test_it_is_outside_of_everything(model):
    loss_pass(model)
    teacher = model.teacher.model
    ids = {id(p) for p in teacher.parameters()}
    assert not ids & {id(p) for p in model.parameters()}
    assert not any(m is teacher for m in model.modules())
    assert not any('teacher' in k for k in model.state_dict())
    assert copy.deepcopy(model).teacher is model.teacher


def test_it_stays_in_eval_mode_and_gets_no_gradient(model):
    losses = loss_pass(model)
    model.train()
    teacher = model.teacher.model
    assert not any(m.training for m in teacher.modules())
    buffers = copy.deepcopy(dict(teacher.named_buffers()))
    model.parse_losses(losses)[0].backward()
    loss_pass(model)
    assert all(p.grad is None for p in teacher.parameters())
    for name, buffer in teacher.named_buffers():
        assert torch.equal(buffer, buffers[name])


def test_it_follows_the_student(model):
    loss_pass(model)
    assert next(model.teacher.model.parameters()).dtype == torch.float32
    for move, dtype in (
        (model.double, torch.float64),
        (model.half, torch.float16),
        (model.float, torch.float32),
        (lambda: model.to(torch.bfloat16), torch.bfloat16),
    ):
        move()
        assert {p.dtype for p in model.teacher.model.parameters()} == {dtype}
    model.to('meta')
    assert next(model.teacher.model.parameters()).device.type == 'meta'


def test_built_late_it_still_follows(model):
    model.double()
    model.prepare()
    assert next(model.teacher.model.parameters()).dtype == torch.float64


def test_built_only_for_training(distill_cfg):
    distill_cfg.model.teacher.config = 'nowhere.py'
    distill_cfg.model.teacher.checkpoint = 'nowhere.pth'
    model = build(distill_cfg.model)
    model.eval()
    data = model.data_preprocessor(raw_batch(), False)
    model(**data, mode='predict')
    runner = make_runner(distill_cfg)
    runner.test()
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        loss_pass(model.train())


@pytest.mark.parametrize(
    'preprocessor',
    [
        dict(
            mean=[103.53, 116.28, 123.675],
            std=[1.0, 1.0, 1.0],
            bgr_to_rgb=False,
        ),
        dict(pad_size_divisor=1),
        dict(pad_size_divisor=64, pad_value=7),
        dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0]),
    ],
)
def test_it_sees_the_pixels_of_its_own_config(
    distill_cfg, project, preprocessor
):
    """Scores equal those of the teacher run alone on the same boxes."""
    config = Config.fromfile(project / 'teacher.py')
    config.model.data_preprocessor.update(preprocessor)
    distill_cfg.model.teacher.config = config.to_dict()
    model = build(distill_cfg.model).train()
    seen = {}
    replay = model.logits.replay

    def keep(teacher, features, record):
        seen['record'] = record
        seen['pair'] = replay(teacher, features, record)
        return seen['pair']

    model.logits.replay = keep
    loss_pass(model)

    alone = build(config.model).eval()
    alone.load_state_dict(torch.load(project / 'teacher.pth')['state_dict'])
    data = alone.data_preprocessor(raw_batch(), False)
    with torch.no_grad():
        features = alone.extract_feat(data['inputs'])
        logits = alone.roi_head._bbox_forward(
            features, seen['record'][0].rois
        )['cls_score']
    assert torch.equal(seen['pair'].teacher, logits)


def test_same_preprocessing_is_done_once(model, monkeypatch):
    model.prepare()
    monkeypatch.setattr(model.teacher.model.data_preprocessor, 'forward', None)
    assert 'teacher_inputs' not in model.data_preprocessor(raw_batch(), True)


def test_own_preprocessing_needs_our_preprocessor(distill_cfg, project):
    config = Config.fromfile(project / 'teacher.py')
    config.model.data_preprocessor.pad_value = 3
    distill_cfg.model.teacher.config = config.to_dict()
    model = build(distill_cfg.model).train()
    data = model.student.data_preprocessor(raw_batch(), True)
    with pytest.raises(ValueError, match='data_preprocessor'):
        model(**data, mode='loss')
    model.student.data_preprocessor.batch_augments = [lambda *x: x]
    with pytest.raises(ValueError, match='batch_augments'):
        model.data_preprocessor(raw_batch(), True)


@pytest.mark.parametrize(
    'options', [dict(dtype='bf16'), dict(channels_last=True)]
)
def test_options_of_its_forward(distill_cfg, options):
    expected = loss_pass(build_seeded(distill_cfg))
    distill_cfg.model.teacher.update(options)
    losses = loss_pass(build_seeded(distill_cfg))
    assert losses['loss_kd'].item() == pytest.approx(
        expected['loss_kd'].item(), rel=0.05
    )
    if 'dtype' in options:
        assert losses['loss_kd'] != expected['loss_kd']


def test_folded_norms(distill_cfg):
    """The same loss but for rounding, without a norm in the teacher."""
    expected = loss_pass(build_seeded(distill_cfg))
    distill_cfg.model.teacher.fold_norms = True
    model = build_seeded(distill_cfg)
    losses = loss_pass(model)
    for name in ('loss_kd', 'loss_rank'):
        assert losses[name].item() == pytest.approx(
            expected[name].item(), rel=1e-4
        )
    backbone = model.teacher.model.backbone
    kinds = {type(m).__name__ for m in backbone.modules()}
    assert 'Identity' in kinds and 'BatchNorm2d' not in kinds
    student = {type(m).__name__ for m in model.student.modules()}
    assert 'BatchNorm2d' in student
    copy.deepcopy(model)


def test_norms_that_cannot_be_folded():
    """The norm is registered behind the convolution, but comes first."""

    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.norm = nn.BatchNorm2d(4)
            self.norm.running_mean.fill_(3.0)

        def forward(self, images):
            features = self.norm(torch.cat([images, images[:, :1]], 1))
            return self.conv(features[:, :3])

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = Backbone()

        def extract_feat(self, images):
            return (self.backbone(images),)

    with pytest.raises(ValueError, match='Leave fold_norms out'):
        fold_norms(Model().eval())


def build_seeded(cfg):
    torch.manual_seed(0)
    return build(cfg.model).train()


def test_boxes_are_not_rounded_under_autocast(model):
    """bfloat16 would move a box edge at 1,000 pixels by up to 4."""
    data = model.data_preprocessor(raw_batch(), True)
    with model.logits.record(model.student) as record:
        model.student(**data, mode='loss')
    seen = []
    model.teacher.model.roi_head.bbox_roi_extractor.register_forward_pre_hook(
        lambda _, args: seen.append((args[0][0].dtype, args[1]))
    )
    with torch.autocast('cpu', torch.bfloat16):
        model.teacher.replay(
            data['inputs'], dict(logits=(model.logits, record))
        )
    ((dtype, rois),) = seen
    assert dtype == rois.dtype == torch.float32
    assert torch.equal(rois, record[0].rois)
    assert not torch.equal(rois, rois.bfloat16().float())


def test_bad_options():
    with pytest.raises(ValueError, match='int8'):
        Teacher('x.py', 'x.pth', dtype='int8')


def test_squares_are_not_for_detectors(distill_cfg):
    """The student's boxes would be on other pixels of them."""
    distill_cfg.model.teacher.input_size = 64
    with pytest.raises(ValueError, match='is for classifiers.*TwoResolutions'):
        build(distill_cfg.model).init_weights()


def test_missing_files(distill_cfg):
    distill_cfg.model.teacher.checkpoint = 'no/such.pth'
    assert "'no/such.pth' does not exist" in first_step_error(
        distill_cfg, FileNotFoundError
    )


def test_weights_that_do_not_fit(distill_cfg, project, tmp_path):
    torch.manual_seed(1)
    student = build(Config.fromfile(project / 'student.py').model)
    path = tmp_path / 'wrong.pth'
    torch.save(dict(state_dict=student.state_dict()), path)
    distill_cfg.model.teacher.checkpoint = str(path)
    message = first_step_error(distill_cfg, ValueError)
    assert 'weights found' in message
    assert 'missing (first: backbone.' in message
    assert 'others (first: backbone.' in message


def test_other_class_count(distill_cfg, project, tmp_path):
    config = Config.fromfile(project / 'teacher.py')
    config.model.roi_head.bbox_head.num_classes = 4
    config.dump(tmp_path / 'four.py')
    save_teacher(tmp_path / 'four.py', tmp_path / 'four.pth')
    distill_cfg.model.teacher.update(
        config=str(tmp_path / 'four.py'), checkpoint=str(tmp_path / 'four.pth')
    )
    message = first_step_error(distill_cfg, ValueError)
    assert '3 classes and the teacher 4' in message


def test_weights_of_another_class_count(distill_cfg, project, tmp_path):
    config = Config.fromfile(project / 'teacher.py')
    config.model.roi_head.bbox_head.num_classes = 4
    config.dump(tmp_path / 'four.py')
    save_teacher(tmp_path / 'four.py', tmp_path / 'four.pth')
    distill_cfg.model.teacher.checkpoint = str(tmp_path / 'four.pth')
    message = first_step_error(distill_cfg, ValueError)
    assert 'another shape' in message and '(5, 256) in the file' in message


def test_other_class_names(distill_cfg, project, tmp_path):
    path = tmp_path / 'named.pth'
    save_teacher(
        project / 'teacher.py',
        path,
        dataset_meta=dict(classes=('bolt', 'screw', 'washer')),
    )
    distill_cfg.model.teacher.checkpoint = str(path)
    message = first_step_error(distill_cfg, ValueError)
    assert "class 1 is 'nut'" in message and "'screw'" in message
    distill_cfg.model.teacher.check_classes = False
    make_runner(distill_cfg).train()


def test_class_names_of_old_checkpoints(distill_cfg, project, tmp_path):
    path = tmp_path / 'old.pth'
    save_teacher(project / 'teacher.py', path, CLASSES=CLASSES[::-1])
    distill_cfg.model.teacher.checkpoint = str(path)
    assert 'same names, other order' in first_step_error(
        distill_cfg, ValueError
    )


def test_compare_classes():
    compare_classes(['a', 'b'], ['a', 'b'])
    with pytest.raises(ValueError, match='has 1 classes .* checkpoint 2'):
        compare_classes(['a'], ['a', 'b'])


def test_teacher_of_a_kind_without_hook(distill_cfg):
    distill_cfg.model.teacher.config = (
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
    )
    message = first_step_error(distill_cfg, TypeError)
    assert 'teacher, a RetinaNet, has no roi_head' in message
    distill_cfg.model.teacher.config = 'mmdet::htc/htc_r50_fpn_1x_coco.py'
    message = first_step_error(distill_cfg, TypeError)
    assert 'has a HybridTaskCascadeRoIHead' in message
    distill_cfg.model.teacher.config = (
        'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'
    )
    message = first_step_error(distill_cfg, ValueError)
    assert '1 box heads and the teacher 3' in message


def test_non_finite_weights(distill_cfg, project, tmp_path):
    checkpoint = torch.load(project / 'teacher.pth')
    weight = checkpoint['state_dict']['roi_head.bbox_head.fc_cls.weight']
    weight[0, 0] = float('nan')
    torch.save(checkpoint, tmp_path / 'nan.pth')
    distill_cfg.model.teacher.checkpoint = str(tmp_path / 'nan.pth')
    message = first_step_error(distill_cfg, ValueError)
    assert 'non-finite' in message and 'fc_cls.weight' in message


def test_pickled_code_is_not_executed(distill_cfg, project, tmp_path):
    marker = tmp_path / 'executed'
    checkpoint = torch.load(project / 'teacher.pth')
    checkpoint['extra'] = Payload(str(marker))
    torch.save(checkpoint, tmp_path / 'evil.pth')
    distill_cfg.model.teacher.checkpoint = str(tmp_path / 'evil.pth')
    message = first_step_error(distill_cfg, ValueError)
    assert 'trust_checkpoint=True' in message
    assert not marker.exists()
    distill_cfg.model.teacher.trust_checkpoint = True
    loss_pass(build(distill_cfg.model).train())
    assert marker.exists()


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


def test_rois_are_recorded_before_any_rounding(model):
    with model.logits.record(model.student) as record:
        data = model.student.data_preprocessor(raw_batch(), True)
        model.student(**data, mode='loss')
    assert record[0].rois.dtype == torch.float32
    boxes = [torch.tensor([[4.0, 6, 40, 50], [30, 20, 60, 60]])] * 2
    truth = bbox2roi(boxes)
    # Ground truth is among the sampled boxes and labelled as such.
    for row, label in zip(truth, [0, 2, 0, 2]):
        same = (record[0].rois == row).all(1)
        assert same.any()
        assert (record[0].labels[same] == label).all()
    assert np.isin(record[0].labels.numpy(), [0, 1, 2, 3]).all()


@pytest.mark.parametrize('detector', ['faster-rcnn', 'atss', 'rtmdet'])
def test_config_in_a_package(detector):
    """Types without a prefix are those of the config's own scope."""
    name = f'digits/{detector}_r50-quarter_fpn_digits.py'
    config = load_config(f'mmdet_rankkd::{name}')
    plain = load_config(str(ROOT / 'configs' / name))
    expected = build_model(plain).state_dict()
    assert set(build_model(config).state_dict()) == set(expected)
    with pytest.raises(FileNotFoundError, match='none.py'):
        load_config('mmdet_rankkd::digits/none.py')
