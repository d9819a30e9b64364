import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from scipy.stats import kendalltau
from torch.utils.data import DataLoader

from mmdet_rankkd.engine.hooks import TauHook
from mmdet_rankkd.losses import kendall_tau
from mmdet_rankkd.recorders import LogitRecorder, RoILogits

from ...helpers import build, make_runner, raw_batch, save_teacher


@pytest.mark.parametrize('first', ['Resize', 'LoadAnnotations'])
def test_boxes_are_in_pixels_of_the_input(
    student_cfg, distill_cfg, project, first
):
    """By boxes of the annotation file, scaled by hand, and SciPy's tau."""
    pipeline = student_cfg.val_dataloader.dataset.pipeline
    pipeline[1].scale, pipeline[1].keep_ratio = (168, 120), False
    if first == 'LoadAnnotations':
        pipeline[1], pipeline[2] = pipeline[2], pipeline[1]
    runner = make_runner(student_cfg)
    hook = TauHook(distill_cfg.model.teacher)
    runner.val_loop  # noqa: B018
    found = hook.measure(runner.model, runner.val_dataloader)

    annotations = json.loads((project / 'data/train.json').read_text())
    models = [runner.model.eval(), hook.teacher.model]
    taus = []
    for image in annotations['images']:
        file = project / 'data/img' / image['file_name']
        pixels = cv2.resize(cv2.imread(str(file)), (168, 120))
        inputs = [torch.from_numpy(pixels).permute(2, 0, 1)]
        factors = (168 / image['width'], 120 / image['height'])
        boxes = []
        for box in annotations['annotations']:
            if box['image_id'] == image['id']:
                x, y, w, h = box['bbox']
                corners = (x, y, x + w, y + h)
                boxes.append(
                    [0, *(c * f for c, f in zip(corners, factors * 2))]
                )
        logits = []
        for model in models:
            data = model.data_preprocessor(dict(inputs=inputs), False)
            with torch.no_grad():
                features = model.extract_feat(data['inputs'])
                rois = torch.tensor(boxes)
                scores = model.roi_head._bbox_forward(features, rois)
            logits.append(scores['cls_score'].numpy())
        taus += [kendalltau(x, y).statistic for x, y in zip(*logits)]
    assert found == pytest.approx(np.mean(taus), abs=1e-6)


def test_boxes_can_be_told(distill_cfg, student_cfg):
    """Where the pipeline does not tell."""
    with pytest.raises(ValueError, match="got 'pixels'"):
        TauHook(distill_cfg.model.teacher, boxes='pixels')
    runner = make_runner(student_cfg)
    hooks = [
        TauHook(distill_cfg.model.teacher, boxes=x)
        for x in (None, 'image', 'input')
    ]
    batch = raw_batch()
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(scale_factor=(0.3, 2.5)))
    with pytest.raises(ValueError, match="boxes='input'"):
        hooks[0].measure(runner.model, DataLoader([batch], None))
    tau = [h.measure(runner.model, [batch]) for h in hooks[1:]]
    assert tau[0] != tau[1]


def test_tau_of_a_model_to_itself_is_one(project, distill_cfg):
    hook = TauHook(distill_cfg.model.teacher, boxes='input')
    torch.manual_seed(1)  # as the teacher's checkpoint was made
    same = build(Config.fromfile(project / 'teacher.py').model).train()
    assert hook.measure(same, [raw_batch()]) == pytest.approx(1, abs=1e-3)
    assert same.training


def test_some_batches_only(project, distill_cfg):
    hook = TauHook(distill_cfg.model.teacher, max_batches=1, boxes='input')
    torch.manual_seed(0)
    student = build(distill_cfg.model.student)
    first, second = raw_batch(seed=0), raw_batch(seed=1)
    tau = hook.measure(student, [first, second])
    assert tau == hook.measure(student, [first])
    hook.max_batches = None
    assert tau != hook.measure(student, [first, second])


def log_of(cfg):
    """What the runs of a config wrote to their log files."""
    files = sorted(Path(cfg.work_dir).glob('*/*.log'))
    return '\n'.join(f.read_text() for f in files)


def with_hook(cfg, **settings):
    cfg.custom_hooks = [dict(type='mmdet_rankkd.TauHook', **settings)]
    return cfg


def hook_of(runner):
    (hook,) = (h for h in runner.hooks if isinstance(h, TauHook))
    return hook


def test_logged_after_validation_and_test(student_cfg, distill_cfg):
    with_hook(student_cfg, teacher=distill_cfg.model.teacher)
    runner = make_runner(student_cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    tau = scalars['val/kendall_tau'].current()
    assert -1 <= tau <= 1
    runner.test()
    assert scalars['test/kendall_tau'].current() == pytest.approx(tau)


@pytest.mark.parametrize('told', [False, True])
def test_the_teacher_of_the_distillation_is_shared(distill_cfg, told):
    teacher = distill_cfg.model.teacher.copy()
    with_hook(distill_cfg, **(dict(teacher=teacher) if told else {}))
    runner = make_runner(distill_cfg)
    runner.train()
    hook, model = hook_of(runner), runner.model
    assert hook.teacher is model.teacher and hook.logits is model.logits
    alone = TauHook(teacher)
    expected = alone.measure(model.student, runner.val_dataloader)
    assert alone.teacher.model is not model.teacher.model
    scalars = runner.message_hub.log_scalars
    assert scalars['val/kendall_tau'].current() == expected


def test_another_teacher_than_that_of_the_distillation(
    distill_cfg, project, tmp_path
):
    path = tmp_path / 'other.pth'
    checkpoint = torch.load(project / 'teacher.pth')
    key = 'roi_head.bbox_head.fc_cls.weight'
    checkpoint['state_dict'][key] *= -1
    torch.save(checkpoint, path)
    other = dict(distill_cfg.model.teacher, checkpoint=str(path))
    with_hook(distill_cfg, teacher=other)
    runner = make_runner(distill_cfg)
    runner.train()
    hook, model = hook_of(runner), runner.model
    weights = [
        t.model.state_dict()[key] for t in (hook.teacher, model.teacher)
    ]
    assert torch.equal(weights[0], -weights[1])


def test_with_all_weights_zero(distill_cfg, student_cfg):
    """The hook has a teacher; the training is that of the plain student."""
    with_hook(student_cfg, teacher=distill_cfg.model.teacher)
    for loss in distill_cfg.model.losses:
        loss.loss_weight = 0.0
    with_hook(distill_cfg)
    runners = []
    for cfg in (student_cfg, distill_cfg):
        runners.append(make_runner(cfg))
        runners[-1].train()
    taus = [
        r.message_hub.log_scalars['val/kendall_tau'].current() for r in runners
    ]
    assert taus[0] == taus[1]
    weights = [r.model.state_dict() for r in runners]
    assert list(weights[0]) == list(weights[1])
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.parametrize(
    'change, error, message',
    [
        (dict(teacher=None), ValueError, 'FasterRCNN is no distiller'),
        (dict(teacher=dict(checkpoint='no.pth')), FileNotFoundError, 'no.pth'),
        (dict(logits=dict(type='mmdet_rankkd.ClsLogits')), TypeError, 'class'),
        (dict(logits=dict(type='mmengine.Unlistening')), TypeError, 'held_ou'),
    ],
)
@pytest.mark.parametrize('run', ['train', 'val', 'test'])
def test_wrong_settings_stop_at_once(
    student_cfg, distill_cfg, change, error, message, run
):
    settings = Config(dict(teacher=distill_cfg.model.teacher))
    settings.merge_from_dict(change)
    with_hook(student_cfg, **settings)
    runner = make_runner(student_cfg)
    seen = []
    runner.model.register_forward_pre_hook(lambda *_: seen.append(1))
    with pytest.raises(error, match=message):
        getattr(runner, run)()
    assert not seen


@MODELS.register_module()
class Unlistening(RoILogits):
    """A recorder of a user's own without ``held_out``."""

    held_out = LogitRecorder.held_out


def test_boxes_that_cannot_be_known_stop_at_once(student_cfg, distill_cfg):
    with_hook(student_cfg, teacher=distill_cfg.model.teacher)
    del student_cfg.val_dataloader.dataset.pipeline[2]
    with pytest.raises(ValueError, match='loads no boxes'):
        make_runner(student_cfg).train()


def test_bad_settings():
    with pytest.raises(ValueError, match='max_batches must be positive'):
        TauHook(max_batches=0)


def test_a_logit_hook_of_its_own(distill_cfg):
    """It is told the classes, although the teacher was built for another."""
    pairs = dict(bolt='nut', washer='washer')
    logits = dict(type='mmdet_rankkd.RoILogits', class_map=pairs)
    runner = make_runner(with_hook(distill_cfg, logits=logits))
    runner.train()
    hook = hook_of(runner)
    assert hook.teacher is runner.model.teacher
    assert hook.logits is not runner.model.logits
    assert hook.logits.class_map.names == ['bolt', 'washer']
    assert 'val/kendall_tau' in runner.message_hub.log_scalars


@pytest.mark.parametrize('background', [False, True])
def test_one_class_has_no_order(
    student_cfg, distill_cfg, project, tmp_path, background
):
    """It is said before training, and no NaN is logged."""
    config = tmp_path / 'one.py'
    text = (project / 'teacher.py').read_text()
    config.write_text(text.replace('num_classes=3', 'num_classes=1'))
    save_teacher(config, tmp_path / 'one.pth', epoch=1)
    student_cfg.model.roi_head.bbox_head.num_classes = 1
    for name in ('train', 'val', 'test'):
        loader = student_cfg[f'{name}_dataloader']
        loader.dataset.metainfo.classes = ('bolt',)
    with_hook(
        student_cfg,
        teacher=dict(config=str(config), checkpoint=str(tmp_path / 'one.pth')),
        logits=dict(type='mmdet_rankkd.RoILogits', background=background),
    )
    runner = make_runner(student_cfg)
    seen = []
    runner.model.register_forward_pre_hook(
        lambda *_: seen.append(log_of(student_cfg))
    )
    runner.train()
    said = 'two columns, one pair' if background else 'one column, which has'
    assert seen[0].count(said) == log_of(student_cfg).count(said) == 1
    found = runner.message_hub.log_scalars.get('val/kendall_tau')
    assert (found is None) != background
    if background:
        assert -1 <= found.current() <= 1


def test_images_without_boxes(distill_cfg, student_cfg):
    runner = make_runner(student_cfg)
    loop = runner.val_loop
    hook = TauHook(distill_cfg.model.teacher, boxes='input')
    full, empty = raw_batch(), raw_batch(seed=1)
    for sample in empty['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    tau = hook.measure(runner.model, [full])
    assert hook.measure(runner.model, [empty, full, empty]) == tau
    assert hook.measure(runner.model, [empty]) is None
    assert 'no row to compare' in log_of(student_cfg)
    # Nor is the last figure logged once more.
    runner.message_hub.update_scalar('val/kendall_tau', tau)
    loop.dataloader = [empty]
    hook.after_val_epoch(runner)
    assert 'val/kendall_tau' not in runner.message_hub.log_scalars


def test_rows_with_a_nan_are_left_out(distill_cfg, student_cfg):
    runner = make_runner(student_cfg)
    loader = runner.val_dataloader
    hook = TauHook(distill_cfg.model.teacher)
    hook.prepare(runner.model, loader)
    batch = raw_batch()
    student, teacher = hook.logits.held_out(
        runner.model.eval(), hook.teacher.model, batch
    )
    student[1, 2] = torch.nan
    hook.logits.held_out = lambda *_: (student, teacher)
    kept = [0, 2, 3]
    taus = kendall_tau(student[kept], teacher[kept])
    hook.boxes = 'input'
    assert hook.measure(runner.model, [batch]) == pytest.approx(
        taus.mean().item()
    )
    assert '1 rows have a NaN' in log_of(student_cfg)
    student[:] = torch.nan
    assert hook.measure(runner.model, [batch]) is None


def in_two_resolutions(dataset, **settings):
    """The data set's pipeline, and an image of the teacher's beside."""
    dataset.pipeline = [
        dict(
            type='mmdet_rankkd.TwoResolutions',
            pipeline=dataset.pipeline,
            **settings,
        )
    ]


@pytest.mark.parametrize('first', ['Resize', 'LoadAnnotations'])
def test_a_teacher_at_its_own_resolution(distill_cfg, project, first):
    """As a teacher whose own preprocessing enlarges what the loader gives."""
    dataset = distill_cfg.val_dataloader.dataset
    pipeline = dataset.pipeline
    if first == 'LoadAnnotations':
        pipeline[1], pipeline[2] = pipeline[2], pipeline[1]
    in_two_resolutions(dataset, scale=2)
    runner = make_runner(distill_cfg)
    runner.val_loop  # noqa: B018
    hook = TauHook()
    found = hook.measure(runner.model, runner.val_dataloader)
    model, taus = runner.model, []
    for batch in runner.val_dataloader:
        student, teacher = model.student.eval(), model.teacher.model
        for image, larger, sample in zip(
            batch['inputs'], batch['teacher_inputs'], batch['data_samples']
        ):
            assert larger.shape[1:] == tuple(2 * x for x in image.shape[1:])
            boxes = sample.gt_instances.bboxes
            boxes = getattr(boxes, 'tensor', boxes)
            if first == 'Resize':
                boxes = boxes * torch.tensor(sample.scale_factor * 2)
            rows = []
            for network, pixels, factor in (
                (student, image, 1),
                (teacher, larger, 2),
            ):
                data = network.data_preprocessor(dict(inputs=[pixels]), False)
                rois = torch.cat(
                    [torch.zeros(len(boxes), 1), factor * boxes], 1
                )
                with torch.no_grad():
                    features = network.extract_feat(data['inputs'])
                    scores = network.roi_head._bbox_forward(features, rois)
                rows.append(scores['cls_score'])
            taus += kendall_tau(*rows).tolist()
    assert found == pytest.approx(np.mean(taus), abs=1e-5)


def test_a_scale_needs_images_of_the_teachers(distill_cfg):
    """Before the first step; training has them."""
    data = distill_cfg.train_dataloader.dataset
    data.pipeline.insert(2, dict(type='Resize', scale=(96, 96)))
    in_two_resolutions(data, scale=2)
    distill_cfg.model.teacher.input_scale = 2
    with pytest.raises(ValueError, match='put that into TwoResolutions too'):
        make_runner(with_hook(distill_cfg)).train()
    in_two_resolutions(distill_cfg.val_dataloader.dataset, scale=2)
    runner = make_runner(distill_cfg)
    runner.train()
    values, _ = runner.message_hub.log_scalars['val/kendall_tau'].data
    assert len(values) == 1 and -1 <= values[0] <= 1
