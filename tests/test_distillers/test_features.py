"""Feature losses through the wrapper: adapters, pairs, detectors."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.experiments.cells import compose, read_cells
from mmdet_rankkd.losses import cwd_loss, fitnet_loss
from mmdet_rankkd.recorders import LayerFeatures, listening

from ..helpers import (
    ROOT,
    build,
    make_runner,
    raw_batch,
    save_teacher,
    small_cls,
)
from ..setups import SETUPS, build_model, distiller_config
from ..setups import save_teacher as save_any

KINDS = ('FitNetLoss', 'ATLoss', 'OFDLoss', 'ReviewKDLoss')
# Of detectors' necks, and here of the stages of classifiers.
NECK_KINDS = ('PKDLoss', 'CWDLoss', 'MGDLoss')
# Channels of the student's levels for ReviewKD, deep first, and sizes and
# channels of the teacher's.
REVIEW = {
    ('resnet8x4', 'resnet32x4'): (
        (256, 256, 128, 64),
        '256x1 256x8 128x16 64x32',
    ),
    ('wrn-16-2', 'wrn-40-2'): ((128, 128, 64, 32), '128x1 128x8 64x16 32x32'),
    ('vgg8', 'vgg13'): (
        (512, 512, 512, 256, 128),
        '512x1 512x4 512x4 256x8 128x16',
    ),
    ('mobilenet-v2', 'resnet50'): (
        (1280, 160, 48, 16, 12),
        '2048x1 2048x4 1024x8 512x16 256x32',
    ),
    ('mobilenet-v2', 'vgg13'): (
        (1280, 160, 48, 16, 12),
        '512x1 512x4 512x4 256x8 128x16',
    ),
    ('shufflenet-v1', 'wrn-40-2'): (
        (960, 960, 480, 240),
        '128x1 128x8 64x16 32x32',
    ),
    ('shufflenet-v2', 'resnet32x4'): (
        (1024, 464, 232, 116),
        '256x1 256x8 128x16 64x32',
    ),
}


def config_of(name):
    return str(ROOT / f'configs/cifar100/{name}_cifar100.py')


def loss_of(kind, **settings):
    return dict(type=f'mmdet_rankkd.{kind}', **settings)


@pytest.fixture
def config(cifar, tmp_path):
    """Function of losses: config of ResNet-8x4 learning from ResNet-20."""

    def make(*losses, teacher='resnet20', student='resnet8x4'):
        cell = compose(read_cells('cifar100'), 'resnet32x4_resnet8x4', 'kd')
        cfg = small_cls(cell, cifar)
        cfg.model.student = Config.fromfile(config_of(student)).model
        cfg.work_dir = str(tmp_path / 'work')
        checkpoint = tmp_path / f'{teacher}.pth'
        save_teacher(config_of(teacher), checkpoint, epoch=1)
        cfg.model.teacher = dict(
            config=config_of(teacher), checkpoint=str(checkpoint)
        )
        cfg.model.losses = list(losses)
        return cfg

    return make


@pytest.mark.parametrize('student, teacher', REVIEW)
def test_review_kd_channels_come_from_the_networks(config, student, teacher):
    model = build(
        config(loss_of('ReviewKDLoss'), teacher=teacher, student=student).model
    )
    expected, of_teacher = REVIEW[student, teacher]
    fusions = model.losses['loss_review'].fusions
    assert tuple(f.conv1[0].in_channels for f in fusions) == expected
    assert fusions[0].conv1[0].out_channels == min(512, expected[0])
    shapes = [x.split('x') for x in of_teacher.split()]
    assert [f.conv2[0].out_channels for f in fusions] == [
        int(c) for c, _ in shapes
    ]


@pytest.mark.parametrize('kind', KINDS + NECK_KINDS)
def test_two_steps_beside_ranking(config, kind):
    """The student and what the loss learns move; the checkpoint has both."""
    settings = dict(levels=(0, 1, 2)) if kind == 'MGDLoss' else {}
    cfg = config(loss_of(kind, **settings), loss_of('KendallRankLoss'))
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner = make_runner(cfg)
    before = {k: v.clone() for k, v in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 2
    for name, value in runner.model.named_parameters():
        assert value.isfinite().all()
        assert not torch.equal(value, before[name]), name
    own = [k for k in before if k.startswith('distiller.')]
    assert (kind == 'ATLoss') == (not own)
    path = Path(cfg.work_dir) / 'epoch_1.pth'
    keys = read_checkpoint(str(path))['state_dict']
    adapters = [k for k in keys if k.startswith('distiller.')]
    assert bool(adapters) == bool(own)
    out = Path(cfg.work_dir) / 'student.pth'
    export_student(str(path), str(out))
    plain = build(Config.fromfile(config_of('resnet8x4')).model)
    weights = torch.load(out, weights_only=True)['state_dict']
    plain.load_state_dict(weights, strict=True)
    # Resumed, the adapters are what they were.
    cfg.load_from, cfg.resume = str(path), True
    again = make_runner(cfg)
    again.load_or_resume()
    for name, value in again.model.losses.state_dict().items():
        assert torch.equal(value, runner.model.losses.state_dict()[name])


@pytest.mark.parametrize(
    'student, teacher',
    [('mobilenet-v2', 'vgg13'), ('shufflenet-v1', 'wrn-40-2')],
)
def test_unlike_networks(config, student, teacher):
    losses = [loss_of(k) for k in KINDS]
    cfg = config(*losses, teacher=teacher, student=student)
    runner = make_runner(cfg)
    data = next(iter(runner.train_dataloader))
    runner.model.train()
    data = runner.model.data_preprocessor(data, True)
    result = runner.model(**data, mode='loss')
    for name in ('loss_fitnet', 'loss_at', 'loss_ofd', 'loss_review'):
        assert result[name].isfinite() and result[name] > 0


def test_value_of_the_hint(config):
    cfg = config(loss_of('FitNetLoss', loss_weight=3.0))
    runner = make_runner(cfg)
    model = runner.model.eval()
    data = next(iter(runner.train_dataloader))
    data = model.data_preprocessor(data, True)
    result = model(**data, mode='loss')
    with torch.no_grad():
        of_student = model.student.backbone.features(data['inputs']).stages[2]
        of_teacher = model.teacher.model.backbone.features(data['inputs'])
        adapted = model.losses['loss_fitnet'].regressors[0](of_student)
    torch.testing.assert_close(
        result['loss_fitnet'].detach(),
        3 * fitnet_loss(adapted, of_teacher.stages[2]),
    )
    # Nothing stays behind on either network.
    assert 'features' not in vars(model.student.backbone)
    assert 'features' not in vars(model.teacher.model.backbone)


def test_levels_of_a_detectors_neck(distill_cfg):
    """FPN levels; weights and gradients of the adapters; export."""
    cfg = distill_cfg
    cfg.model.teacher.check_classes = False
    cfg.model.losses = [
        loss_of('FitNetLoss', levels=(0, 1, 2, 3), loss_weight=1.0),
        loss_of('ReviewKDLoss', first=0, pooled=False, max_mid=256),
        loss_of('FGFILoss', levels=(0, 1, 2, 3)),
        loss_of('KendallRankLoss'),
    ]
    model = build(cfg.model).train()
    assert len(model.losses['loss_fitnet'].regressors) == 4
    assert len(model.losses['loss_review'].fusions) == 4
    data = model.data_preprocessor(raw_batch(), True)
    result = model(**data, mode='loss')
    model.parse_losses(result)[0].backward()
    for name, parameter in model.losses.named_parameters():
        assert parameter.grad is not None, name
    for name in ('loss_fitnet', 'loss_review', 'loss_fgfi', 'loss_rank'):
        assert result[name].isfinite()
    assert all(
        k.startswith('distiller.')
        for k in model.state_dict()
        if 'regressors' in k or 'fusions' in k
    )


def test_fgfi_needs_anchors(config):
    cfg = config(loss_of('FGFILoss', levels=(1,)), student='resnet20')
    runner = make_runner(cfg)
    data = next(iter(runner.train_dataloader))
    data = runner.model.data_preprocessor(data, True)
    with pytest.raises(TypeError, match='with anchors'):
        runner.model(**data, mode='loss')


def test_missing_layer(config):
    cfg = config(loss_of('ATLoss'))
    cfg.model.features = dict(layer='neck')
    with pytest.raises(ValueError, match='has no layer'):
        build(cfg.model)


def test_missing_teacher_config(config):
    cfg = config(loss_of('ATLoss'))
    cfg.model.teacher.config = 'missing.py'
    with pytest.raises(FileNotFoundError, match='missing.py'):
        build(cfg.model)


def test_ofd_needs_norms(config):
    cfg = config(loss_of('OFDLoss'), teacher='mobilenet-v2')
    runner = make_runner(cfg)
    data = next(iter(runner.train_dataloader))
    with pytest.raises(TypeError, match='OFDLoss needs a teacher'):
        runner.model.data_preprocessor(data, True)


@pytest.mark.parametrize('detector', ['gfl', 'retinanet'])
def test_class_maps_are_those_of_the_heads(detector, tmp_path):
    setup = SETUPS[detector]()
    save_any(setup, tmp_path / 'teacher.pth')
    losses = [
        loss_of('CWDLoss', maps='classes', loss_weight=1.0),
        loss_of('CWDLoss', loss_name='loss_cwd_neck'),
    ]
    model = build(distiller_config(setup, tmp_path / 'teacher.pth', losses))
    model.prepare()
    outputs = []
    data = model.data_preprocessor(raw_batch(), True)
    heads = model.student.bbox_head, model.teacher.model.bbox_head
    with (
        listening(heads[0], 'forward', lambda out, *x: outputs.append(out[0])),
        listening(heads[1], 'forward', lambda out, *x: outputs.append(out[0])),
    ):
        found = model.train()(**data, mode='loss')
    expected = sum(cwd_loss(s, t) for s, t in zip(*outputs))
    torch.testing.assert_close(found['loss_cwd'], expected)
    assert found['loss_cwd_neck'].isfinite()


class Plain(torch.nn.Module):
    """A backbone of another house, with a part called ``features``."""

    def __init__(self):
        super().__init__()
        self.features = torch.nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        return (self.features(x),)


def test_a_part_called_features_is_no_method():
    model = torch.nn.Module()
    model.backbone = Plain()
    model.extract_feat = lambda x: model.backbone(x)
    (found,) = LayerFeatures().probe(model, 'student').stages
    assert found.shape == (1, 4, 16, 16)
    assert isinstance(model.backbone.features, torch.nn.Conv2d)


@pytest.mark.parametrize('kind', ['PKDLoss', 'ATLoss', 'FitNetLoss'])
def test_other_padding_is_refused(kind, tmp_path):
    """Maps of 96 pixels are not stretched to those of 128."""
    setup = SETUPS['faster-rcnn']()
    setup.teacher['data_preprocessor']['pad_size_divisor'] = 128
    save_any(setup, tmp_path / 'teacher.pth')
    losses = [setup.loss(kind), loss_of('KLDivLoss')]
    config = distiller_config(setup, tmp_path / 'teacher.pth', losses)
    model = build_model(config).train()
    data = model.data_preprocessor(raw_batch(), True)
    message = r'\(96, 96\) pixels for the student and \(128, 128\).*divisor'
    with pytest.raises(ValueError, match=message):
        model(**data, mode='loss')
    data = model.data_preprocessor(raw_batch(sizes=((128, 128),)), True)
    assert model(**data, mode='loss')[next(iter(model.losses))].isfinite()


@pytest.mark.parametrize('detector', ['faster-rcnn', 'gfl'])
def test_images_of_one_channel(detector, tmp_path):
    setup = SETUPS[detector]()
    setup.student = copy.deepcopy(setup.teacher)
    for model in (setup.student, setup.teacher):
        model['backbone']['in_channels'] = 1
        model['backbone']['init_cfg'] = None
        model['data_preprocessor'].update(
            mean=[120.0], std=[60.0], bgr_to_rgb=False
        )
    save_any(setup, tmp_path / 'teacher.pth')
    losses = [setup.loss('PKDLoss')]
    if setup.is_dense:
        losses.append(setup.loss('CrossKDLoss'))
    config = distiller_config(setup, tmp_path / 'teacher.pth', losses)
    config['teacher']['fold_norms'] = True
    model = build_model(config).train()
    raw = raw_batch()
    raw['inputs'] = [x[:1] for x in raw['inputs']]
    result = model(**model.data_preprocessor(raw, True), mode='loss')
    for name in model.losses:
        assert result[name].isfinite() and result[name] > 0


def test_class_maps_need_every_place(tmp_path):
    """A class_map leaves places out: said when the model is built."""
    setup = SETUPS['retinanet']()
    setup.logits['class_map'] = 'names'
    losses = [loss_of('CWDLoss', maps='classes')]
    with pytest.raises(ValueError, match='class_map leaves out those of'):
        build_model(distiller_config(setup, tmp_path / 'teacher.pth', losses))
