import json

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch.utils.data import DataLoader

from mmdet_rankkd.engine.tau_hook import TauHook

from ..conftest import build, make_runner, raw_batch


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
    from mmengine.config import Config

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


def test_logged_after_validation_and_test(student_cfg, distill_cfg):
    student_cfg.custom_hooks = [
        dict(type='mmdet_rankkd.TauHook', teacher=distill_cfg.model.teacher)
    ]
    runner = make_runner(student_cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    tau = scalars['val/kendall_tau'].current()
    assert -1 <= tau <= 1
    runner.test()
    assert scalars['test/kendall_tau'].current() == pytest.approx(tau)
