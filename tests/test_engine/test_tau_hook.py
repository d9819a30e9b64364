import pytest
import torch

from mmdet_rankkd.engine.tau_hook import TauHook
from mmdet_rankkd.logits.roi import ground_truth_rois

from ..conftest import build, make_runner, raw_batch


def test_rois_are_in_pixels_of_the_input():
    samples = raw_batch()['data_samples']
    samples[1].set_metainfo(dict(scale_factor=(2.0, 0.5)))
    rois = ground_truth_rois(samples)
    assert rois[:2].tolist() == [[0, 4, 6, 40, 50], [0, 30, 20, 60, 60]]
    assert rois[2].tolist() == [1, 8, 3, 80, 25]


def test_tau_of_a_model_to_itself_is_one(project, distill_cfg):
    hook = TauHook(distill_cfg.model.teacher)
    torch.manual_seed(1)  # as the teacher's checkpoint was made
    from mmengine.config import Config

    same = build(Config.fromfile(project / 'teacher.py').model).train()
    assert hook.measure(same, [raw_batch()]) == pytest.approx(1, abs=1e-3)
    assert same.training


def test_some_batches_only(project, distill_cfg):
    hook = TauHook(distill_cfg.model.teacher, max_batches=1)
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
