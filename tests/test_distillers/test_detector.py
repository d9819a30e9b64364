import copy

import pytest
import torch
from mmengine.optim import OptimWrapper

from mmdet_rankkd.losses import kendall_rank_loss, kendall_tau, kl_div_loss
from mmdet_rankkd.structures import DistillBatch

from ..helpers import build, make_runner, raw_batch


@pytest.fixture
def model(distill_cfg):
    torch.manual_seed(0)
    return build(distill_cfg.model).train()


def loss_pass(model, **batch):
    torch.manual_seed(0)  # the sampler draws at random
    data = model.data_preprocessor(raw_batch(**batch), True)
    return model(**data, mode='loss')


def test_losses_by_name(model):
    losses = loss_pass(model)
    assert set(losses) == {
        'loss_rpn_cls',
        'loss_rpn_bbox',
        'loss_cls',
        'loss_bbox',
        'acc',
        'loss_kd',
        'loss_rank',
        'kendall_tau',
    }
    total, logs = model.parse_losses(losses)
    backward = [v for k, v in logs.items() if 'loss' in k and k != 'loss']
    assert total.item() == pytest.approx(sum(v.item() for v in backward))
    assert not losses['kendall_tau'].requires_grad
    total.backward()
    assert model.student.roi_head.bbox_head.fc_cls.weight.grad.abs().sum() > 0


def test_student_losses_are_those_of_the_plain_student(model):
    distilled = loss_pass(model)
    torch.manual_seed(0)
    data = model.student.data_preprocessor(raw_batch(), True)
    plain = model.student(**data, mode='loss')
    for name, value in plain.items():
        values = value if isinstance(value, list) else [value]
        others = distilled[name]
        others = others if isinstance(others, list) else [others]
        assert all(torch.equal(a, b) for a, b in zip(values, others)), name


def test_values_are_those_of_the_losses_on_the_logits(model):
    pairs = []
    replay = model.logits.replay

    def keep(*args):
        pairs.append(replay(*args))
        return pairs[-1]

    model.logits.replay = keep
    losses = loss_pass(model)
    (pair,) = pairs
    assert torch.equal(
        losses['loss_kd'], kl_div_loss(pair.student, pair.teacher)
    )
    assert torch.equal(
        losses['loss_rank'], kendall_rank_loss(pair.student, pair.teacher)
    )
    assert torch.equal(
        losses['kendall_tau'], kendall_tau(pair.student, pair.teacher).mean()
    )


def test_every_head_runs_once_and_the_teacher_no_more_than_it_must(
    model, monkeypatch
):
    loss_pass(model)  # builds the teacher
    calls = []

    def count(module, name):
        module.register_forward_hook(lambda *_: calls.append(name))

    for name, detector in (
        ('student', model.student),
        ('teacher', model.teacher.model),
    ):
        count(detector.backbone, f'{name} backbone')
        count(detector.roi_head.bbox_head, f'{name} bbox_head')
        count(detector.rpn_head, f'{name} rpn_head')
    teacher = model.teacher.model

    def forbidden(*args, **kwargs):
        raise AssertionError('the teacher did more than score the RoIs')

    for owner, name in (
        (teacher.rpn_head, 'predict_by_feat'),
        (teacher.rpn_head, 'loss'),
        (teacher.roi_head, 'loss'),
        (teacher.roi_head, 'predict'),
        (teacher.roi_head.bbox_head, 'loss'),
        (teacher.roi_head.bbox_head, 'predict_by_feat'),
    ):
        monkeypatch.setattr(owner, name, forbidden)
    monkeypatch.setattr(
        type(teacher.roi_head.bbox_sampler),
        'sample',
        count_calls(type(teacher.roi_head.bbox_sampler).sample, calls),
    )
    loss_pass(model)
    assert sorted(calls) == sorted(
        [
            'student backbone',
            'student rpn_head',
            'student bbox_head',
            'teacher backbone',
            'teacher bbox_head',
            # RPN and RoI head of the student, two images each.
            *['sample'] * 4,
        ]
    )


def count_calls(function, calls):
    def counted(*args, **kwargs):
        calls.append('sample')
        return function(*args, **kwargs)

    return counted


def test_predict_and_tensor_are_the_students(model):
    model.eval()
    data = model.data_preprocessor(raw_batch(), False)
    assert 'teacher_inputs' not in data
    ours = model(**copy.deepcopy(data), mode='predict')
    plain = model.student(**copy.deepcopy(data), mode='predict')
    for a, b in zip(ours, plain):
        assert torch.equal(a.pred_instances.scores, b.pred_instances.scores)
        assert torch.equal(a.pred_instances.bboxes, b.pred_instances.bboxes)
    ours = model(**data, mode='tensor')
    plain = model.student(**data, mode='tensor')
    assert torch.equal(ours[-1][0], plain[-1][0])
    assert model.teacher.model is None


def test_no_weight_no_teacher(model):
    for loss in model.losses.values():
        loss.loss_weight = 0
    losses = loss_pass(model)
    assert 'loss_kd' not in losses and 'kendall_tau' not in losses
    assert model.teacher.model is None


def test_weights_scale_the_losses(model):
    before = loss_pass(model)
    model.losses['loss_kd'].loss_weight = 2.5
    model.losses['loss_rank'].loss_weight = 0
    after = loss_pass(model)
    assert torch.allclose(after['loss_kd'], 2.5 * before['loss_kd'])
    assert 'loss_rank' not in after


def test_unknown_attributes_are_the_students(model):
    assert model.roi_head is model.student.roi_head
    assert model.with_rpn
    with pytest.raises(AttributeError, match='no attribute'):
        model.no_such_thing  # noqa: B018


def test_bad_settings(distill_cfg):
    config = distill_cfg.model
    kd = dict(type='mmdet_rankkd.KLDivLoss')
    with pytest.raises(ValueError, match="two losses are named 'loss_kd'"):
        build(dict(config, losses=[kd, kd]))
    with pytest.raises(TypeError, match='CrossEntropyLoss is not'):
        build(dict(config, losses=[dict(type='CrossEntropyLoss')]))
    with pytest.raises(ValueError, match='teacher must be dict'):
        build(dict(config, teacher=dict(config='x.py')))
    with pytest.raises(ValueError, match='ckpt'):
        build(dict(config, teacher=dict(config.teacher, ckpt='x')))
    clash = build(dict(config, losses=[dict(kd, loss_name='loss_cls')]))
    with pytest.raises(ValueError, match="named 'loss_cls' already"):
        loss_pass(clash.train())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_logits_under_autocast(model, dtype):
    # mmcv has no half-precision ops for the CPU, so the student's pass is in
    # float32 and its logits are rounded.
    data = model.data_preprocessor(raw_batch(), True)
    model.prepare()
    with model.logits.record(model.student) as record:
        losses = model.student(**data, mode='loss')
    record[0].logits = record[0].logits.to(dtype)
    with torch.autocast('cpu', dtype):
        pair = model.teacher.replay(
            data['inputs'], dict(logits=(model.logits, record))
        )['logits']
        batch = DistillBatch(pair, model.student)
        losses = model.add_losses(losses, batch)
    for name, function in (
        ('loss_kd', kl_div_loss),
        ('loss_rank', kendall_rank_loss),
    ):
        expected = function(pair.student.double(), pair.teacher.double())
        assert losses[name].dtype == torch.float32
        assert losses[name].item() == pytest.approx(expected.item(), rel=1e-5)


def test_trains_through_the_runner(distill_cfg):
    runner = make_runner(distill_cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    for name in ('loss_kd', 'loss_rank', 'kendall_tau', 'loss_cls'):
        history = scalars[f'train/{name}'].data[0]
        assert len(history) == 3 and all(
            map(torch.isfinite, map(torch.tensor, history))
        )
    assert 'val/coco/bbox_mAP' in scalars


def test_gradient_accumulation_averages_once(model):
    """One step of three batches is one of the mean of their gradients."""

    def loss_of(index):
        torch.manual_seed(index)  # the sampler draws at random
        data = model.data_preprocessor(raw_batch(seed=index), True)
        losses = model(**data, mode='loss')
        assert losses['loss_kd'] > 0
        return model.parse_losses(losses)[0]

    weights = dict(model.named_parameters())
    mean = {name: torch.zeros_like(w) for name, w in weights.items()}
    for index in range(3):
        model.zero_grad()
        loss_of(index).backward()
        for name, weight in weights.items():
            mean[name] += weight.grad / 3
    before = {name: w.detach().clone() for name, w in weights.items()}
    wrapper = OptimWrapper(
        torch.optim.SGD(model.parameters(), lr=10), accumulative_counts=3
    )
    wrapper.initialize_count_status(model, 0, 3)
    model.zero_grad()
    for index in range(3):
        with wrapper.optim_context(model):
            wrapper.update_params(loss_of(index))
        moved = [not torch.equal(w, before[n]) for n, w in weights.items()]
        assert any(moved) == (index == 2)
    for name, weight in weights.items():
        step = (before[name] - weight.detach()) / 10
        error = (step - mean[name]).abs().max()
        # Far less than a factor of 3, far more than rounding.
        assert error <= 0.05 * mean[name].abs().max() + 1e-5, name
    assert mean['roi_head.bbox_head.fc_cls.weight'].abs().max() > 1e-3


def test_distillation_does_not_move_the_random_numbers(
    distill_cfg, student_cfg
):
    """With weights of next to nothing, training is the plain student's."""
    for loss in distill_cfg.model.losses:
        loss.loss_weight = 1e-30
    ours = make_runner(
        distill_cfg, val_evaluator=None, val_cfg=None, val_dataloader=None
    )
    ours.train()
    plain = make_runner(
        student_cfg, val_evaluator=None, val_cfg=None, val_dataloader=None
    )
    plain.train()
    expected = plain.model.state_dict()
    for key, value in ours.model.state_dict().items():
        assert torch.equal(value, expected[key]), key
