"""What holds for every recorder with every loss.

A weight of 0 changes nothing, to the bit; a loss that counts reaches the
student's shared layers by itself; and no parameter of a distiller is ever
without a gradient.
"""

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmdet_rankkd.losses import DistillLoss
from mmdet_rankkd.registry import MODELS

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


def test_every_loss_is_walked():
    MODELS.import_from_location()
    registered = {
        name
        for name, kind in MODELS.module_dict.items()
        if isinstance(kind, type)
        and issubclass(kind, DistillLoss)
        and kind.__module__.startswith('mmdet_rankkd.')
    }
    lacking = registered - set(LOSSES)
    assert not lacking, f'give them settings in tests/setups.py: {lacking}'
    assert registered == set(LOSSES)
    assert {loss for _, loss in PAIRS} == set(LOSSES)


pytestmark = pytest.mark.usefixtures('no_training_before')


def make(name, checkpoints, losses, seed=0):
    """The distiller of a set-up, initialised; a plain student for None."""
    setup = SETUPS[name]()
    config = setup.student
    if losses is not None:
        config = distiller_config(setup, checkpoints(name), losses)
    torch.manual_seed(seed)
    model = build_model(config)
    model.init_weights()
    return model.train()


def losses_of(model, name, seed=0):
    """All losses of one batch."""
    data = batch_of(SETUPS[name](), seed)
    if 'loss_mlkd' not in getattr(model, 'losses', {}):
        data.pop('strong_inputs', None)
    data = model.data_preprocessor(data, True)
    return model(**data, mode='loss')


def loss_of(model, name, seed=0):
    """The sum that is back-propagated, of one batch."""
    return model.parse_losses(losses_of(model, name, seed))[0]


def plain_names(model):
    """The student's parameters by name."""
    student = getattr(model, 'student', model)
    return dict(student.named_parameters())


def train(model, name, steps=2):
    """Groups of the optimizer, initial and trained weights."""
    wrapper = build_optim_wrapper(model, dict(OPTIMIZER))
    groups = [
        (len(g['params']), g['lr'], g['weight_decay'])
        for g in wrapper.optimizer.param_groups
    ]
    before = {k: v.detach().clone() for k, v in plain_names(model).items()}
    torch.manual_seed(3)
    for step in range(steps):
        wrapper.update_params(loss_of(model, name, step))
    return groups, before, plain_names(model)


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
    plain = train(make(name, checkpoints, None), name)
    assert distilled[0] == plain[0]
    # Where the student's own gradient is exactly zero, NOTHING is not.
    least = 1e-20 if any(x['loss_weight'] for x in losses) else 0
    for found, expected in zip(distilled[1:], plain[1:]):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert (found[key] - value).abs().max() <= least, key


@pytest.mark.parametrize('name', SETUPS)
def test_what_learns_draws_no_number_of_the_training(name, checkpoints):
    setup = SETUPS[name]()
    distilled = make(
        name, checkpoints, [setup.loss(x) for x in setup.losses()]
    )
    drawn = torch.rand(1)
    plain = make(name, checkpoints, None)
    assert torch.equal(drawn, torch.rand(1))
    for key, value in plain_names(plain).items():
        assert torch.equal(plain_names(distilled)[key], value), key


def shared_layers(model):
    """Weights of the first layer of all, and of the last shared one."""
    student = getattr(model, 'student', model)
    layers = [next(student.backbone.parameters())]
    last = student.neck if hasattr(student, 'neck') else student.backbone
    layers += [p for p in last.parameters() if p.requires_grad][:1]
    return [p for p in layers if p.requires_grad]


@pytest.mark.parametrize('name, loss', PAIRS)
def test_each_loss_reaches_the_shared_layers(name, loss, checkpoints):
    """By itself, and it gives a gradient to each parameter of its own."""
    model = make(name, checkpoints, [SETUPS[name]().loss(loss)])
    (term,) = model.losses.values()
    shared = shared_layers(model)
    found = torch.autograd.grad(
        losses_of(model, name)[term.loss_name],
        [*shared, *term.parameters()],
        allow_unused=True,
    )
    reached = [x for x in found[: len(shared)] if x is not None]
    assert any(x.any() and x.isfinite().all() for x in reached)
    for x in found[len(shared) :]:
        assert x is not None and x.isfinite().all()


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
