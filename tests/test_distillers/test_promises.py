"""What holds for every recorder with every loss.

A weight of 0 changes nothing, to the bit; a loss that counts changes the
gradient of the whole step at the student's shared layers by itself; and no
parameter of a distiller is ever without a gradient, in one process or two.
"""

from functools import cache, lru_cache

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmdet_rankkd.losses import DistillLoss
from mmdet_rankkd.recorders import LogitRecorder
from mmdet_rankkd.registry import MODELS

from ..programs import run_two_processes
from ..setups import (
    LOSSES,
    SETUPS,
    batch_of,
    build_model,
    distiller_config,
)

PAIRS = [
    (name, loss) for name, make in SETUPS.items() for loss in make().losses()
]
#: Settings that choose what is compared: set-up, recorder, loss.
OTHERS = [
    ('faster-rcnn', dict(background=False), 'KendallRankLoss', {}),
    ('faster-rcnn', dict(positives_only=True), 'KLDivLoss', {}),
    *(
        ('faster-rcnn', {}, 'KendallRankLoss', dict(rows=rows))
        for rows in ('all', 'foreground', 'confidence', 'per_object')
    ),
    ('faster-rcnn', {}, 'KLDivLoss', dict(background=False)),
    ('faster-rcnn', {}, 'CTKDLoss', dict(num_classes=4)),
    ('cascade-rcnn', dict(positives_only=True), 'KLDivLoss', {}),
    ('retinanet', dict(locations='all'), 'BinaryKLDivLoss', {}),
    ('retinanet', dict(locations='positives'), 'KendallRankLoss', {}),
    ('gfl', dict(locations='all'), 'CWDLoss', dict(maps='classes')),
    ('classifier', {}, 'KLDivLoss', dict(view='strong')),
    ('classifier', {}, 'KendallRankLoss', dict(view='both')),
]
OPTIMIZER = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        bypass_duplicate=True,
        norm_decay_mult=0.0,
        custom_keys={'backbone': dict(lr_mult=0.1)},
    ),
)
#: So little that no float32 gradient of the student's own losses feels it.
NOTHING = 1e-30


def registered_kinds(base):
    """Names of the registered classes of this package that are of a kind."""
    MODELS.import_from_location()
    return {
        name
        for name, kind in MODELS.module_dict.items()
        if isinstance(kind, type)
        and issubclass(kind, base)
        and kind.__module__.startswith('mmdet_rankkd.')
    }


def test_every_recorder_is_walked():
    walked = {x().logits['type'].split('.')[-1] for x in SETUPS.values()}
    # Without logits nothing is recorded; see tests/test_recorders/test_none.py
    assert walked | {'NoLogits'} == registered_kinds(LogitRecorder)


def test_every_loss_is_walked():
    registered = registered_kinds(DistillLoss)
    lacking = registered - set(LOSSES)
    assert not lacking, f'give them settings in tests/setups.py: {lacking}'
    assert registered == set(LOSSES)
    assert {loss for _, loss in PAIRS} == set(LOSSES)


pytestmark = pytest.mark.usefixtures('no_training_before')


def make(name, checkpoints, losses, seed=0, **logits):
    """The distiller of a set-up, initialised; a plain student for None."""
    setup = SETUPS[name]()
    config = setup.student
    if losses is not None:
        config = distiller_config(setup, checkpoints(name), losses)
        config['logits'].update(logits)
    torch.manual_seed(seed)
    model = build_model(config)
    model.init_weights()
    return model.train()


def loss_of(model, name, seed=0):
    """The sum that is back-propagated, of one batch."""
    data = batch_of(SETUPS[name](), seed)
    terms = getattr(model, 'losses', {}).values()
    if not any(needs_two_views(x) for x in terms):
        data.pop('strong_inputs', None)
    data = model.data_preprocessor(data, True)
    return model.parse_losses(model(**data, mode='loss'))[0]


def needs_two_views(loss):
    """Whether a loss compares the strong view of images."""
    view = getattr(loss, 'view', 'weak')
    return loss.loss_name == 'loss_mlkd' or view != 'weak'


def plain_state(model):
    """The student's weights and statistics by name."""
    return getattr(model, 'student', model).state_dict()


def train(model, name, steps=2):
    """Groups of the optimizer, initial and trained weights."""
    wrapper = build_optim_wrapper(model, dict(OPTIMIZER))
    student = getattr(model, 'student', model)
    names = {id(x): key for key, x in student.named_parameters()}
    groups = [
        ([names[id(x)] for x in g['params']], g['lr'], g['weight_decay'])
        for g in wrapper.optimizer.param_groups
        if all(id(x) in names for x in g['params'])  # not what losses learn
    ]
    before = {k: v.clone() for k, v in plain_state(model).items()}
    torch.manual_seed(3)
    for step in range(steps):
        wrapper.update_params(loss_of(model, name, step))
    return groups, before, plain_state(model)


@cache
def plain_training(name):
    """What :func:`train` gives for the student alone."""
    return train(make(name, None, None), name)


@pytest.mark.parametrize('name', [n for n in SETUPS if n != 'classifier'])
@pytest.mark.parametrize('weight', [0, NOTHING])
def test_no_weight_is_the_plain_student(name, weight, checkpoints):
    """All losses of the detector at once, also those that learn."""
    setup = SETUPS[name]()
    losses = [setup.loss(x, loss_weight=weight) for x in setup.losses()]
    if weight:
        # What learns is in the optimizer; it is below that it draws no number.
        losses = [setup.loss('KendallRankLoss', loss_weight=weight)]
    compare_with_plain(name, losses, checkpoints)


@pytest.mark.parametrize('weight', [0, NOTHING])
def test_no_weight_is_the_plain_classifier(weight, checkpoints):
    setup = SETUPS['classifier']()
    names = [
        x
        for x in setup.losses()
        if x not in ('MLKDLoss', 'CRDLoss') or not weight
    ]
    if weight:
        names = ['KLDivLoss', 'KendallRankLoss', 'ATLoss']
    losses = [setup.loss(x, loss_weight=weight) for x in names]
    compare_with_plain('classifier', losses, checkpoints)


def compare_with_plain(name, losses, checkpoints):
    distilled = train(make(name, checkpoints, losses), name)
    plain = plain_training(name)
    assert distilled[0] == plain[0]
    # Where the student's own gradient is exactly zero, NOTHING is not.
    least = 1e-20 if any(x['loss_weight'] for x in losses) else 0
    for found, expected in zip(distilled[1:], plain[1:]):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert (found[key] - value).abs().max() <= least, key


@pytest.mark.parametrize('name', ['faster-rcnn', 'gfl', 'detr', 'classifier'])
def test_losses_that_begin_later_change_nothing(name, checkpoints):
    """Though they are shown the first batch; see the tests of late losses."""
    setup = SETUPS[name]()
    late = dict(schedule=dict(begin=8))
    losses = [
        setup.loss(x, loss_name=f'loss_{x}', **late)
        for x in setup.losses()
        if x != 'MLKDLoss'
    ]
    model = make(name, checkpoints, losses)
    for term in model.losses.values():
        term.set_progress(0, 0)
    kept = {k: v.clone() for k, v in model.losses.named_buffers()}
    distilled, drawn = train(model, name), torch.rand(1)
    plain = train(make(name, checkpoints, None), name)
    assert torch.equal(drawn, torch.rand(1))
    for key, value in plain[2].items():
        assert torch.equal(distilled[2][key], value), key
    for key, value in model.losses.named_buffers():
        assert torch.equal(kept[key], value), key


@pytest.mark.parametrize('name', SETUPS)
def test_what_learns_draws_no_number_of_the_training(name, checkpoints):
    setup = SETUPS[name]()
    distilled = make(
        name, checkpoints, [setup.loss(x) for x in setup.losses()]
    )
    drawn = torch.rand(1)
    plain = make(name, checkpoints, None)
    assert torch.equal(drawn, torch.rand(1))
    found = plain_state(distilled)
    for key, value in plain_state(plain).items():
        assert torch.equal(found[key], value), key


def shared_layers(model):
    """Weights of the first layer of all, and of the last shared one."""
    student = getattr(model, 'student', model)
    layers = [next(student.backbone.parameters())]
    last = student.neck if hasattr(student, 'neck') else student.backbone
    layers += [p for p in last.parameters() if p.requires_grad][:1]
    return [p for p in layers if p.requires_grad]


@cache
def plain_gradients(name):
    """Of the whole step of the plain student, at the shared layers."""
    model = make(name, None, None)
    torch.manual_seed(3)
    return torch.autograd.grad(loss_of(model, name), shared_layers(model))


def check_gradients(model, name):
    """A loss counts in the step, and each parameter of its own learns."""
    shared, own = shared_layers(model), list(model.losses.parameters())
    torch.manual_seed(3)
    found = torch.autograd.grad(loss_of(model, name), [*shared, *own])
    assert all(x.isfinite().all() for x in found)
    assert any(
        not torch.equal(x, plain)
        for x, plain in zip(found, plain_gradients(name))
    )


@pytest.fixture(scope='module')
def with_all_losses(checkpoints):
    """Function of a set-up: its distiller, and each of its losses by name."""

    @lru_cache(maxsize=1)
    def build(name):
        setup = SETUPS[name]()
        names = list(setup.losses())
        model = make(name, checkpoints, [setup.loss(x) for x in names])
        return model, dict(zip(names, model.losses.items()))

    return build


@pytest.mark.parametrize('name, loss', PAIRS)
def test_each_loss_changes_the_gradient_of_the_step(
    name, loss, with_all_losses
):
    """By itself, at a layer that all that the student does goes through."""
    model, losses = with_all_losses(name)
    model.losses = torch.nn.ModuleDict([losses[loss]])
    check_gradients(model, name)


@pytest.mark.parametrize('name, logits, loss, settings', OTHERS)
def test_each_choice_changes_the_gradient_of_the_step(
    name, logits, loss, settings, checkpoints
):
    """What recorders and losses can be told to compare."""
    losses = [SETUPS[name]().loss(loss, **settings)]
    check_gradients(make(name, checkpoints, losses, **logits), name)


@pytest.mark.parametrize('name', SETUPS)
def test_no_parameter_lacks_a_gradient_while_losses_are_off(name, checkpoints):
    setup = SETUPS[name]()
    losses = [
        setup.loss(x, schedule=dict(begin=2), loss_name=f'loss_{x}')
        for x in setup.losses()
    ]
    model = make(name, checkpoints, losses)
    for term in model.losses.values():
        term.set_progress(0, 0)
    loss_of(model, name).backward()
    for key, parameter in model.losses.named_parameters():
        assert parameter.grad is not None, key
        assert not parameter.grad.any(), key


IN_TWO = """
import sys
import torch
from mmengine.model import MMDistributedDataParallel
from tests.setups import SETUPS, batch_of, build_model, distiller_config

torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
for name, checkpoint in zip(sys.argv[1::2], sys.argv[2::2]):
    setup = SETUPS[name]()
    losses = [
        setup.loss(
            x, schedule=dict(begin=1, end=2), loss_name=f'loss_{x}_late')
        for x in setup.losses()
    ]
    torch.manual_seed(0)
    model = build_model(distiller_config(setup, checkpoint, losses))
    model.init_weights()
    model = MMDistributedDataParallel(
        model.train(), find_unused_parameters=False)
    for step in range(3):
        for term in model.module.losses.values():
            term.set_progress(step, step)
        data = model.module.data_preprocessor(batch_of(setup, rank), True)
        losses = model(**data, mode='loss')
        # DDP raises in the next step if one had no gradient in this one.
        model.module.parse_losses(losses)[0].backward()
    print(name, 'ok')

# A plain student whose second head has no loss of its own.
setup = SETUPS['classifier']()
student = dict(
    setup.student,
    backbone=dict(
        type='mmdet_rankkd.DeiT', depth=1, image_size=32, distilled=True),
    head=dict(type='mmdet_rankkd.DistilledHead', num_classes=100))
model = build_model(student).train()
model = MMDistributedDataParallel(model, find_unused_parameters=False)
for step in range(2):
    data = batch_of(setup, rank)
    data.pop('strong_inputs')
    losses = model(**model.module.data_preprocessor(data, True), mode='loss')
    model.module.parse_losses(losses)[0].backward()
print('second head ok')
"""


def test_no_parameter_lacks_a_gradient_in_two_processes(checkpoints):
    """Before the losses begin, while they count, and after their end."""
    names = ('faster-rcnn', 'gfl', 'classifier')
    arguments = [x for name in names for x in (name, checkpoints(name))]
    said = run_two_processes(IN_TWO, *arguments)
    for name in (*names, 'second head'):
        assert said.count(f'{name} ok') == 2, name
