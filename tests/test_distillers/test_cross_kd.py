"""CrossKD of detectors: published numbers, heads, adapters, checkpoints."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict

from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.losses import CrossKDLoss
from mmdet_rankkd.recorders import CrossedHead
from mmdet_rankkd.structures import HeadMaps

from ..helpers import raw_batch
from ..programs import run_two_processes
from ..setups import (
    DENSE,
    SETUPS,
    build_model,
    distiller_config,
    save_teacher,
    seed_weights,
)

# Loss, and sums of the absolute values of the gradients of the tower's first
# convolution and of the neck's, of classes and of boxes, by the detectors in
# mmdet/models/detectors/crosskd_*.py of jbwang1997/CrossKD at 87e156a with
# MMDetection 3.5: reused_teacher_head_idx=1, weights of 1 (4 for the boxes of
# GFL, in the form for distributions; IoULoss for those of FCOS), of
# raw_batch(), with student and teacher filled by seed_weights(0) and (1).
PUBLISHED = {
    'gfl': [
        (509.24078369140625, 17381.4140625, 166.06900024414062),
        (1.2156933546066284, 84.23937225341797, 1.0498508214950562),
    ],
    'retinanet': [
        (2324.685302734375, 71959.71875, 667.9856567382812),
        (64.44438934326172, 2941.1455078125, 31.701662063598633),
    ],
    'atss': [
        (509.24078369140625, 17381.4140625, 166.06900024414062),
        (1.6803830862045288, 106.43180847167969, 1.3642338514328003),
    ],
    'fcos': [
        (686.8969116210938, 21598.896484375, 210.33644104003906),
        (856.1472778320312, 16430.474609375, 249.5169219970703),
    ],
}
CLASSES = dict(
    type='mmdet_rankkd.CrossKDLoss', box_weight=0, loss_name='loss_classes'
)
BOXES = dict(
    type='mmdet_rankkd.CrossKDLoss', class_weight=0, loss_name='loss_boxes'
)


def seeded_teacher(setup, path):
    """A checkpoint of seeded weights."""
    model = build_model(setup.teacher)
    seed_weights(model, 1)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)


def build_seeded(name, tmp_path, losses, change=None):
    """Student and teacher of seeded weights."""
    setup = SETUPS[name]()
    if change:
        change(setup)
    seeded_teacher(setup, tmp_path / 'teacher.pth')
    config = distiller_config(setup, tmp_path / 'teacher.pth', losses)
    torch.manual_seed(0)
    model = build_model(config)
    seed_weights(model.student, 0)
    model.train().prepare()
    return model


def losses_of(model, seed=0):
    data = model.data_preprocessor(raw_batch(seed=seed), True)
    return model(**data, mode='loss')


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_numbers(name, tmp_path):
    boxes = dict(BOXES, overlap='iou') if name == 'fcos' else BOXES
    model = build_seeded(name, tmp_path, [CLASSES, boxes])
    result = losses_of(model)
    head = model.student.bbox_head
    for key, tower, expected in zip(
        ('loss_classes', 'loss_boxes'),
        (head.cls_convs, head.reg_convs),
        PUBLISHED[name],
    ):
        model.zero_grad()
        result[key].backward(retain_graph=True)
        found = [
            result[key].item(),
            tower[0].conv.weight.grad.abs().sum().item(),
            next(model.student.neck.parameters()).grad.abs().sum().item(),
        ]
        assert found == pytest.approx(expected, rel=1e-4)
        # What is behind the layer learns nothing of it.
        assert tower[1].conv.weight.grad is None
    teacher = model.teacher.model
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize('name', [*DENSE, 'retina-sepbn'])
@pytest.mark.parametrize('layer', [1, 2])
def test_the_rest_of_the_head(name, layer):
    """From the teacher's own maps it predicts what the whole head does."""
    setup = SETUPS[name.replace('retina-sepbn', 'retinanet')]()
    config = setup.teacher
    if name == 'retina-sepbn':
        config['bbox_head'].update(
            type='RetinaSepBNHead', num_ins=4, norm_cfg=dict(type='BN')
        )
    teacher = build_model(config)
    seed_weights(teacher, 1)
    teacher.eval().requires_grad_(False)
    student = build_model(config)
    recorder = CrossedHead(layer)
    recorder.check(student, teacher)
    data = student.data_preprocessor(raw_batch(), True)
    with recorder.record(student.train()) as record:
        student(**data, mode='loss')
    features = teacher.extract_feat(data['inputs'])
    with recorder.watch(teacher, record):
        crossing = recorder.replay(teacher, features, record)
    assert [len(x) for x in crossing.teacher] == [4, 4]
    again = crossing.rest(crossing.teacher)
    for found, expected in zip(again, crossing.target):
        torch.testing.assert_close(found, expected)
    assert again.boxes.shape[1] == (36 if name == 'gfl' else 4)
    # The student's maps give other predictions, in its graph.
    other = crossing.rest(crossing.student)
    assert (other.logits - again.logits).abs().max() > 1e-3
    other.logits.sum().backward()
    first = student.bbox_head.cls_convs[0]
    first = first[0] if isinstance(first, torch.nn.ModuleList) else first
    assert first.conv.weight.grad.abs().sum() > 0
    # The head is as it was.
    whole = teacher.bbox_head(features)
    assert all(map(torch.equal, whole[0], record.dense.teacher[0]))
    assert not any('forward' in vars(x) for x in teacher.modules())


@pytest.mark.parametrize('name', DENSE)
def test_where_they_agree(name, tmp_path):
    """Nothing to learn for a student that is the teacher, and only then."""
    setup = SETUPS[name]()
    setup.student = copy.deepcopy(setup.teacher)
    save_teacher(setup, tmp_path / 'teacher.pth')
    losses = [CLASSES, BOXES]
    config = distiller_config(setup, tmp_path / 'teacher.pth', losses)
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    model.eval()
    if name == 'fcos':  # sides that are cut at 0 are none to compare
        model.teacher.model.bbox_head.conv_reg.bias.data += 1
    apart = losses_of(model)
    model.student.load_state_dict(model.teacher.model.state_dict())
    together = losses_of(model)
    for key in ('loss_classes', 'loss_boxes'):
        assert together[key] < 1e-3 * apart[key], key


def test_another_width_and_other_classes(tmp_path):
    """The adapters' shapes are found; the classes are the teacher's."""

    def wide(setup):
        setup.teacher['bbox_head'].update(feat_channels=32, num_classes=5)
        setup.logits['class_map'] = {f's{i}': f't{i}' for i in (0, 1)}

    setup = SETUPS['atss']()
    wide(setup)
    seeded_teacher(setup, tmp_path / 'teacher.pth')
    config = distiller_config(setup, tmp_path / 'teacher.pth', [CLASSES])
    model = build_model(config)
    loss = model.losses['loss_classes']
    assert [tuple(x.weight.shape) for x in loss.adapters] == 2 * [
        (32, 64, 1, 1)
    ]
    maps = [torch.randn(2, 64, 3, 3) for _ in range(4)]
    targets = [torch.randn(2, 32, 3, 3) for _ in range(4)]
    matched = loss.match(HeadMaps(maps, maps), HeadMaps(targets, targets))
    for x, t in zip(matched.classes, targets):
        torch.testing.assert_close(x.mean((0, 2, 3)), t.mean((0, 2, 3)))
        torch.testing.assert_close(
            x.std((0, 2, 3)), t.std((0, 2, 3)), rtol=1e-4, atol=1e-4
        )


def narrow(setup):
    """A teacher with narrower towers."""
    setup.teacher['bbox_head']['feat_channels'] = 32


def test_adapters_are_resumed_and_not_exported(tmp_path):
    loss = dict(type='mmdet_rankkd.CrossKDLoss')
    model = build_seeded('gfl', tmp_path, [loss], narrow)
    losses_of(model)['loss_crosskd'].backward()
    adapters = model.losses['loss_crosskd'].adapters
    for parameter in adapters.parameters():
        assert parameter.grad is not None
    weights = model.state_dict()
    own = {k for k in weights if k.startswith('distiller.')}
    assert own == {
        f'distiller.loss_crosskd.adapters.{i}.{x}'
        for i in (0, 1)
        for x in ('weight', 'bias')
    }
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=weights, meta={}), path)
    export_student(str(path), str(tmp_path / 'student.pth'))
    plain = build_model(SETUPS['gfl']().student)
    exported = torch.load(tmp_path / 'student.pth', weights_only=True)
    plain.load_state_dict(exported['state_dict'], strict=True)
    again = build_seeded('gfl', tmp_path, [loss], narrow)
    again.load_state_dict(weights)
    for a, b in zip(again.losses.parameters(), model.losses.parameters()):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    'name, loss, error, message',
    [
        ('faster-rcnn', {}, TypeError, r'CrossedHead \(of CrossKDLoss\) need'),
        ('detr', {}, TypeError, r'CrossedHead \(of CrossKDLoss\) needs'),
        (
            'fcos',
            dict(layer=3),
            ValueError,
            'layer=3 is none of the 2 convolutions in cls_convs of the stud',
        ),
        ('fcos', dict(layer=-2), ValueError, 'layer=-2 is none of the 2'),
    ],
)
def test_what_has_no_such_layer(tmp_path, name, loss, error, message):
    """When the model is built."""
    setup = SETUPS[name]()
    loss = dict(type='mmdet_rankkd.CrossKDLoss', **loss)
    config = distiller_config(setup, tmp_path / 'teacher.pth', [loss])
    with pytest.raises(error, match=message):
        build_model(config)


def test_what_cannot_be_compared(tmp_path):
    """Two layers at once; a teacher at other places; one with a softmax."""
    setup = SETUPS['atss']()
    losses = [CLASSES, dict(BOXES, layer=2)]
    config = distiller_config(setup, tmp_path / 'teacher.pth', losses)
    with pytest.raises(ValueError, match='behind layer -1 and behind layer 2'):
        build_model(config)
    student = build_model(setup.student)
    setup.teacher['bbox_head']['anchor_generator']['octave_base_scale'] = 8
    with pytest.raises(ValueError, match='not predict at the same locations'):
        CrossedHead().check(student, build_model(setup.teacher))
    setup = SETUPS['retinanet']()
    setup.teacher['bbox_head']['loss_cls'] = dict(
        type='CrossEntropyLoss', use_sigmoid=False
    )
    students = build_model(setup.student)
    with pytest.raises(ValueError, match='has a background column'):
        CrossedHead().check(students, build_model(setup.teacher))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_under_autocast(dtype, tmp_path):
    """The rest of the teacher's head stays in float32."""
    loss = dict(type='mmdet_rankkd.CrossKDLoss')
    model = build_seeded('gfl', tmp_path, [loss])
    seen = []
    model.teacher.model.bbox_head.gfl_cls.register_forward_hook(
        lambda _, inputs, output: seen.append((inputs[0].dtype, output.dtype))
    )
    with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
        value = losses_of(model)['loss_crosskd']
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite()
    assert set(seen) == {(torch.float32, torch.float32)} and len(seen) == 8


def test_in_half_precision_throughout(tmp_path):
    """Without autocast, the teacher's head has the dtype of the student."""
    loss = dict(type='mmdet_rankkd.CrossKDLoss')
    model = build_seeded('retinanet', tmp_path, [loss])
    exact = losses_of(model)['loss_crosskd']
    model.to(torch.bfloat16)
    data = model.data_preprocessor(raw_batch(), True)
    data['inputs'] = data['inputs'].bfloat16()
    value = model(**data, mode='loss')['loss_crosskd']
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=0.2, atol=0)


def test_images_without_objects(tmp_path):
    """The loss goes on, divided by one place."""
    loss = dict(type='mmdet_rankkd.CrossKDLoss')
    for name in ('gfl', 'fcos'):
        model = build_seeded(name, tmp_path, [loss])
        raw = raw_batch()
        for sample in raw['data_samples']:
            sample.gt_instances = sample.gt_instances[:0]
        data = model.data_preprocessor(raw, True)
        value = model(**data, mode='loss')['loss_crosskd']
        value.backward()
        assert value.isfinite() and value > 0


DDP_SCRIPT = """
import sys, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
import mmdet_rankkd
from tests.helpers import raw_batch
from tests.setups import seed_weights
torch.set_num_threads(1)
dist.init_process_group('gloo')
rank = dist.get_rank()
with DefaultScope.overwrite_default_scope('mmdet'):
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(sys.argv[1]).model)
seed_weights(model.student, 0)
model.train().prepare()
model.log_tau = False
ddp = DistributedDataParallel(model)
raw = raw_batch()
if rank:  # objects on one process alone
    for sample in raw['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
data = model.data_preprocessor(raw, True)
losses = ddp(**data, mode='loss')
value = losses['loss_crosskd']
model.parse_losses(losses)[0].backward()
grads = torch.cat([
    p.grad.flatten() for p in model.losses.parameters()])
others = [torch.zeros_like(grads) for _ in range(2)]
dist.all_gather(others, grads)
assert grads.any() and torch.equal(*others)
if not rank:
    torch.save(value.item(), sys.argv[2])
"""


def test_two_processes(tmp_path):
    """The divisor is the mean number of places; adapters stay equal."""
    # A sum over places of classes alone, so that only the divisor differs.
    loss = dict(type='mmdet_rankkd.CrossKDLoss', box_weight=0)
    model = build_seeded('atss', tmp_path, [loss], narrow)
    alone = losses_of(model)['loss_crosskd'].item()
    setup = SETUPS['atss']()
    narrow(setup)
    config = distiller_config(setup, tmp_path / 'teacher.pth', [loss])
    Config(ConfigDict(model=config)).dump(tmp_path / 'config.py')
    arguments = [tmp_path / 'config.py', tmp_path / 'value.pth']
    run_two_processes(DDP_SCRIPT, *arguments)
    value = torch.load(tmp_path / 'value.pth', weights_only=True)
    assert value == pytest.approx(2 * alone, rel=1e-4)


def test_settings():
    for settings in (
        dict(class_weight=-1),
        dict(class_weight=0, box_weight=0),
    ):
        with pytest.raises(ValueError, match='CrossKDLoss needs a class_we'):
            CrossKDLoss(**settings)
    with pytest.raises(ValueError, match='overlap must be one of'):
        CrossKDLoss(overlap='diou')
