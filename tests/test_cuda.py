"""What only a GPU can show; all of it is skipped where there is none.

The numbers are those of the CPU: of the ranking loss by both backends, and of
whole steps with every loss. A training with ``--amp`` ends in a plain student.
"""

import pytest
import torch

from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.engine.hooks.exact_resume_hook import (
    random_state,
    set_random_state,
)
from mmdet_rankkd.losses import kendall_rank_loss, kendall_tau
from mmdet_rankkd.ops import compiler

from .helpers import rankkd
from .setups import (
    SETUPS,
    batch_of,
    build_model,
    distiller_config,
    seed_weights,
)

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a GPU'
)
#: Set-ups whose steps draw nothing and whose boxes are not sampled.
REPEATABLE = ('retinanet', 'fcos', 'atss', 'gfl', 'rtmdet', 'classifier')
#: Losses that draw on the device, whose random numbers are its own.
DRAWN = ('MGDLoss',)


@pytest.fixture(autouse=True)
def plain_float32(monkeypatch):
    """No TF32: its mantissa has ten bits."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    monkeypatch.setattr(torch.backends.cuda.matmul, 'allow_tf32', False)


def by_norm(found, expected):
    """Size of the difference, as a part of what is expected."""
    found, expected = found.detach().double().cpu(), expected.double().cpu()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize('backend', ['eager', 'compiled'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    'rows, classes, settings',
    [
        (64, 100, {}),
        (4096, 81, {}),
        (4096, 81, dict(k=6.0)),
        (4096, 81, dict(form=2)),
        (4096, 81, dict(form=3)),
        (7, 1203, {}),
        (65536, 81, {}),
    ],
)
def test_ranking_loss(backend, dtype, rows, classes, settings):
    torch.manual_seed(0)
    pair = torch.randn(2, rows, classes, dtype=dtype)
    exact = pair[0].double().requires_grad_()
    expected = kendall_rank_loss(exact, pair[1].double(), **settings)
    expected.backward()
    student = pair[0].cuda().requires_grad_()
    value = kendall_rank_loss(
        student, pair[1].cuda(), backend=backend, **settings
    )
    value.backward()
    assert value.dtype == torch.float32
    difference = value.detach().cpu() - expected.detach()
    assert abs(float(difference)) < 5e-6
    half = dtype is torch.bfloat16
    assert by_norm(student.grad, exact.grad) < (5e-3 if half else 1e-4)
    assert not compiler.failures


def test_auto_compiles():
    compiler.forget_compiled()
    pair = torch.randn(2, 4096, 81, device='cuda')
    kendall_rank_loss(*pair)
    assert compiler.compiled.cache_info().currsize and not compiler.failures


def test_tau_is_that_of_the_cpu():
    pair = torch.randint(0, 9, (2, 300, 81)).float()
    assert torch.allclose(kendall_tau(*pair.cuda()).cpu(), kendall_tau(*pair))


def step(name, checkpoint, device, losses, dtype=None):
    """Losses of a step, and the student's gradients."""
    setup = SETUPS[name]()
    torch.manual_seed(0)
    losses = [setup.loss(x) for x in losses]
    model = build_model(distiller_config(setup, checkpoint, losses))
    model.init_weights()
    seed_weights(model.student, 3)
    model.to(device).train()
    data = model.data_preprocessor(batch_of(setup), True)
    with torch.autocast(device, dtype or torch.bfloat16, dtype is not None):
        losses = model(**data, mode='loss')
    total, values = model.parse_losses(losses)
    total.backward()
    gradients = {
        name: x.grad for name, x in model.named_parameters() if x.requires_grad
    }
    return {k: float(v.detach()) for k, v in values.items()}, gradients


def joined(gradients):
    return torch.cat([x.flatten().double().cpu() for x in gradients.values()])


@pytest.mark.parametrize('name', REPEATABLE)
def test_a_step_is_that_of_the_cpu(name, checkpoints):
    losses = [x for x in SETUPS[name]().losses() if x not in DRAWN]
    values, gradients = {}, {}
    for device in ('cpu', 'cuda'):
        values[device], gradients[device] = step(
            name, checkpoints(name), device, losses
        )
    assert values['cuda'] == pytest.approx(values['cpu'], rel=1e-3, abs=1e-6)
    there = joined(gradients['cuda'])
    assert by_norm(there, joined(gradients['cpu'])) < 1e-2


@pytest.mark.parametrize('dtype', [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', SETUPS)
def test_a_step_with_every_loss(name, dtype, checkpoints):
    try:
        values, gradients = step(
            name, checkpoints(name), 'cuda', SETUPS[name]().losses(), dtype
        )
    except RuntimeError as error:
        # mmcv 2.3.6: RoIAlign and the focal loss have no kernel for bfloat16.
        if dtype is torch.bfloat16 and 'not implemented' in str(error):
            pytest.skip(str(error))
        raise
    assert torch.tensor(list(values.values())).isfinite().all(), values
    assert not [key for key, x in gradients.items() if x is None]
    if dtype is not torch.float16:  # without a scaler these may overflow
        assert joined(gradients).isfinite().all()


def test_amp_training_ends_in_a_plain_student(project, tmp_path):
    rankkd(
        'train', project / 'distill.py', '--amp', '--work-dir', tmp_path / 'w'
    )
    state = read_checkpoint(tmp_path / 'w/epoch_1.pth')['state_dict']
    assert not [key for key in state if 'teacher' in key]
    assert all(x.isfinite().all() for x in state.values())
    rankkd('test', project / 'student.py', tmp_path / 'w/epoch_1.pth')


def test_random_numbers_of_the_gpu_are_restored():
    state = random_state()
    drawn = torch.rand(5, device='cuda')
    set_random_state(state)
    assert torch.equal(torch.rand(5, device='cuda'), drawn)
