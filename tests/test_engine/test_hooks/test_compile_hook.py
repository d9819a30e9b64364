"""Backbones and necks that are compiled, and what is equal then."""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmdet_rankkd.engine.doctor.step import gradient_of
from mmdet_rankkd.engine.hooks import CompileHook
from mmdet_rankkd.engine.hooks.compile_hook import (
    Compiled,
    compile_parts,
    keep_buffers,
    refuse_layers,
)
from mmdet_rankkd.experiments.cells import compose, read_cells
from mmdet_rankkd.structures import ClsDataSample

from ...helpers import build, make_runner, save_teacher, small_cls

LOSSES = [
    dict(type='mmdet_rankkd.KLDivLoss'),
    dict(type='mmdet_rankkd.FitNetLoss', levels=(0, 1), loss_weight=0.1),
    dict(type='mmdet_rankkd.KendallRankLoss', backend='eager'),
]


class Count:
    """A backend that runs graphs as they are, and counts them."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, example):
        self.graphs += 1
        return graph.forward


class Part(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


def network(channels=4):
    model = nn.Module()
    model.backbone = Part(channels)
    return model


def train(cfg, hook=None):
    """The runner of a training and the sum of its losses at its end."""
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner = make_runner(cfg)
    if hook:
        runner.register_hook(hook)
    runner.train()
    return runner, runner.message_hub.get_scalar('train/loss').current()


def assert_same(first, second, **tolerance):
    """The same keys, and weights that are the same but for rounding."""
    a, b = (x.model.state_dict() for x in (first, second))
    assert list(a) == list(b)
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=name, **tolerance)


def test_detector(distill_cfg):
    """Images of many sizes; losses of the neck's output are there."""
    distill_cfg.model.losses = LOSSES
    expected, loss = train(distill_cfg)
    count = Count()
    found, same = train(distill_cfg, CompileHook(backend=count))
    # Backbone and neck of each network, and more for other sizes.
    assert count.graphs >= 4
    assert same == pytest.approx(loss, rel=1e-5)
    assert_same(expected, found, rtol=1e-4, atol=1e-6)


def test_student_that_trains_alone(student_cfg):
    """As a config names the hook."""
    expected, loss = train(student_cfg)
    hook = dict(type='mmdet_rankkd.CompileHook', backend='eager')
    student_cfg.custom_hooks = [hook]
    found, same = train(student_cfg)
    assert isinstance(found.model.backbone.forward, Compiled)
    assert isinstance(found.model.neck.forward, Compiled)
    assert same == pytest.approx(loss, rel=1e-5)
    assert_same(expected, found, rtol=1e-4, atol=1e-6)


@pytest.fixture
def cls_cfg(cifar, tmp_path):
    """KD and features of a network of this package."""
    cells = read_cells('cifar100')
    cfg = compose(cells, 'resnet110_resnet20', 'kd')
    cfg = small_cls(cfg, cifar)
    student = 'mmdet_rankkd::cifar100/resnet20_cifar100.py'
    cfg.model.teacher = dict(
        config=student, checkpoint=str(tmp_path / 'teacher.pth')
    )
    save_teacher(student, cfg.model.teacher.checkpoint, dataset_meta={})
    cfg.model.losses += LOSSES[1:2]
    cfg.work_dir = str(tmp_path / 'work')
    return cfg


def test_classifier_of_this_package(cls_cfg):
    """By the compiler itself: losses and weights but for rounding."""
    expected, loss = train(cls_cfg)
    found, same = train(cls_cfg, CompileHook())
    assert isinstance(vars(found.model.student.backbone)['features'], Compiled)
    assert same == pytest.approx(loss, rel=1e-4)
    assert_same(expected, found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('teacher', [True, False])
def test_the_teacher_is_compiled_unless_told_not_to(cls_cfg, teacher):
    found, _ = train(cls_cfg, CompileHook(teacher, backend='eager'))
    backbone = found.model.teacher.model.backbone
    assert isinstance(vars(backbone).get('features'), Compiled) == teacher


def test_each_module_has_an_allowance_of_its_own():
    """PyTorch compiles eight variants of a function and then no more."""
    count = Count()
    x = torch.randn(2, 3, 8, 8)
    for channels in range(1, 13):
        model = network(channels)
        expected = model.backbone(x)
        assert compile_parts(model, dict(backend=count)) == ['backbone']
        assert torch.equal(model.backbone(x), expected)
        assert count.graphs == channels


def test_sizes_of_one_are_not_those_of_another():
    """Else a teacher with larger images would be compiled for any size."""
    shapes = []

    def backend(graph, example):
        shapes.append([x.shape for x in example if x.dim() == 4][-1])
        return graph.forward

    for size in (8, 16):
        model = network()
        compile_parts(model, dict(backend=backend))
        model.backbone(torch.randn(2, 3, size, size))
    assert [type(x) for x in shapes[1]] == [int] * 4


def test_forwards_that_were_set_are_refused():
    model = network()
    model.backbone.forward = model.backbone.forward
    with pytest.raises(ValueError, match='a Part has a forward that was set'):
        compile_parts(model, {})


def test_beside_mmengines(student_cfg):
    student_cfg.compile = True
    runner = make_runner(student_cfg)
    with pytest.raises(ValueError, match='what compile=True compiles'):
        CompileHook().before_train(runner)


def test_gradients_of_single_terms(cls_cfg):
    """Behind a step, as BalanceHook and the doctor take them."""
    model = build(cls_cfg.model).train()
    model.prepare()
    keep_buffers()
    compile_parts(model.student, dict(backend='aot_eager_decomp_partition'))
    parameters = list(model.student.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 32, 32, generator=generator)
    samples = [ClsDataSample(gt_label=torch.tensor([i])) for i in range(4)]

    def losses():
        return model(images, samples, mode='loss')

    model.parse_losses(losses())[0].backward()
    terms = losses()
    first, second = (
        gradient_of(terms[name], parameters)
        for name in ('loss_kd', 'loss_fitnet')
    )
    assert first.any() and second.any() and not torch.equal(first, second)


def test_twice_is_once():
    model = network()
    compile_parts(model, {})
    first = model.backbone.forward
    compile_parts(model, {})
    assert model.backbone.forward is first


@pytest.mark.parametrize(
    'copied', [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_has_weights_of_its_own(copied):
    """Not those of the module that it is of."""
    model = network()
    compile_parts(model, dict(backend='eager'))
    other = copied(model)
    with torch.no_grad():
        other.backbone.conv.weight.zero_()
        other.backbone.conv.bias.zero_()
    x = torch.randn(2, 3, 8, 8)
    assert not other.backbone(x).any() and model.backbone(x).any()
    assert list(other.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize('role', ['student', 'teacher'])
def test_layers_inside_are_refused(cls_cfg, role):
    model = build(cls_cfg.model)
    model.recorders['features'].layers[role] = 'backbone.layer1'
    with pytest.raises(ValueError, match=f"'backbone.layer1' of the {role}"):
        refuse_layers(model, ['student', 'teacher'])
    refuse_layers(model, [x for x in ('student', 'teacher') if x != role])


def test_a_model_without_parts_is_refused():
    with pytest.raises(ValueError, match='a Linear has neither'):
        compile_parts(nn.Linear(1, 1), {})


def test_no_compiler(student_cfg):
    def broken(graph, example):
        raise OSError('no g++')

    with pytest.raises(RuntimeError, match='(?s)C.. compiler.*no g'):
        train(student_cfg, CompileHook(backend=broken))
