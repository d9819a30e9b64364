import itertools
import math
from decimal import Decimal, localcontext

import pytest
import torch

from mmdet_rankkd.losses import (
    BinaryKLDivLoss,
    KLDivLoss,
    binary_kl_div_loss,
    kl_div_loss,
)

STUDENT = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64)
TEACHER = torch.tensor([[3.0, 1.0, 0.0]], dtype=torch.float64)


def loop_softmax(row, temperature):
    exps = [math.exp(x / temperature) for x in row]
    return [x / sum(exps) for x in exps]


def loop_loss(student, teacher, temperature):
    rows = []
    for s, t in zip(student.tolist(), teacher.tolist()):
        q_s, q_t = (loop_softmax(x, temperature) for x in (s, t))
        rows.append(sum(b * math.log(b / a) for a, b in zip(q_s, q_t)))
    return temperature**2 * sum(rows) / len(rows)


def test_golden_value():
    loss = kl_div_loss(STUDENT, TEACHER, temperature=4)
    assert loss.item() == pytest.approx(0.881178533, abs=1e-9)


@pytest.mark.parametrize('temperature', [0.5, 1, 4])
@pytest.mark.parametrize('shape', [(1, 2), (5, 3), (2, 81)])
def test_equals_loops(temperature, shape):
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    loss = kl_div_loss(student, teacher, temperature=temperature)
    assert loss.item() == pytest.approx(
        loop_loss(student, teacher, temperature), rel=1e-10
    )


def test_gradient_is_eq_9():
    student, teacher = torch.randn(2, 3, 5, dtype=torch.float64)
    student.requires_grad_()
    kl_div_loss(student, teacher, temperature=3, reduction='sum').backward()
    q_s, q_t = (x.div(3).softmax(1) for x in (student.detach(), teacher))
    assert torch.allclose(student.grad, -3 * (q_t - q_s))


def test_gradcheck():
    student, teacher = torch.randn(2, 3, 5, dtype=torch.float64)
    student.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: kl_div_loss(x, teacher, temperature=2).square(), (student,)
    )


def test_teacher_is_detached_and_equal_logits_cost_nothing():
    student = torch.randn(3, 4, requires_grad=True)
    teacher = torch.randn(3, 4, requires_grad=True)
    kl_div_loss(student, teacher).backward()
    assert teacher.grad is None
    assert kl_div_loss(student, student).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize('shape', [(0, 5), (3, 1)])
def test_nothing_to_compare_is_zero_and_attached(shape):
    student = torch.randn(shape, requires_grad=True)
    loss = kl_div_loss(student, torch.randn(shape))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().sum() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = torch.randn(2, 8, 81).to(dtype)
    with torch.autocast('cpu', torch.bfloat16):
        loss = kl_div_loss(student, teacher)
    assert loss.dtype == torch.float32
    expected = kl_div_loss(student.double(), teacher.double())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_weights_and_module():
    student, teacher = torch.randn(2, 4, 5)
    weight = torch.tensor([0.0, 1.0, 1.0, 0.0])
    module = KLDivLoss(temperature=2, loss_weight=0.5)
    rows = kl_div_loss(student, teacher, temperature=2, reduction='none')
    loss = module(student, teacher, weight=weight, avg_factor=2)
    assert torch.allclose(loss, 0.5 * rows[1:3].mean())


def test_large_logits_and_nan():
    student, teacher = torch.randn(2, 3, 5) * 1e4
    assert kl_div_loss(student, teacher).isfinite()
    student[1, 1] = math.nan
    rows = kl_div_loss(student, teacher, reduction='none')
    assert rows.isnan().tolist() == [False, True, False]


def test_errors():
    with pytest.raises(ValueError, match='temperature'):
        KLDivLoss(temperature=0)
    with pytest.raises(ValueError, match='temperature'):
        kl_div_loss(STUDENT, TEACHER, temperature=-1)
    with pytest.raises(ValueError, match=r'\(3, 4\).*\(3, 5\)'):
        kl_div_loss(torch.zeros(3, 4), torch.zeros(3, 5))
    with pytest.raises(ValueError, match='must contain "loss"'):
        KLDivLoss(loss_name='kd')
    with pytest.raises(ValueError, match='reduction'):
        KLDivLoss(reduction='max')


def binary_loops(student, teacher, temperature):
    """Sum over classes of the divergence of two coins, in float64."""
    rows = []
    for s_row, t_row in zip(student.tolist(), teacher.tolist()):
        total = 0.0
        for s, t in zip(s_row, t_row):
            p = 1 / (1 + math.exp(-t / temperature))
            q = 1 / (1 + math.exp(-s / temperature))
            total += p * math.log(p / q)
            total += (1 - p) * math.log((1 - p) / (1 - q))
        rows.append(total * temperature**2)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize('temperature', [0.5, 1.0, 4.0])
def test_binary_form(temperature):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 7, 5, dtype=torch.float64) * 3
    expected = binary_loops(student, teacher, temperature)
    rows = binary_kl_div_loss(
        student, teacher, temperature=temperature, reduction='none'
    )
    assert torch.allclose(rows, expected, rtol=1e-10)
    single = binary_kl_div_loss(
        student.float(), teacher.float(), temperature=temperature
    )
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(expected.mean().item(), rel=1e-5)
    weight = torch.rand(7)
    module = BinaryKLDivLoss(temperature, loss_weight=2)
    assert module(student, teacher, weight, 3.0).item() == pytest.approx(
        2 * (expected * weight).sum().item() / 3, rel=1e-6
    )
    assert torch.autograd.gradcheck(
        lambda s: binary_kl_div_loss(s, teacher, temperature=temperature),
        student.requires_grad_(),
    )


def exact_binary(student, teacher):
    """Divergence and derivative of two logits, with 80 digits."""
    with localcontext() as context:
        context.prec = 80
        s, t = Decimal(student), Decimal(teacher)
        p, q = 1 / (1 + (-t).exp()), 1 / (1 + (-s).exp())
        value = p * (p / q).ln() + (1 - p) * ((1 - p) / (1 - q)).ln()
        return float(value), float(q - p)


LOGITS = [0, 0.1, 1, 5, 12, 19.5, 20.5, 25, 40, 60]
LOGITS = sorted({sign * x for x in LOGITS for sign in (1, -1)})
APART = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1, 2]
PAIRS = list(itertools.product(LOGITS, LOGITS)) + [
    (x + sign * d, x) for x in LOGITS for d in APART for sign in (1, -1)
]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_binary_form_is_precise_everywhere(dtype):
    """For large logits, equal ones and such that hardly differ."""
    student, teacher = torch.tensor(PAIRS, dtype=dtype).t()[:, :, None]
    x = student.clone().requires_grad_()
    rows = binary_kl_div_loss(x, teacher, reduction='none')
    rows.sum().backward()
    for value, slope, s, t in zip(
        *(z.flatten().tolist() for z in (rows, x.grad, student, teacher))
    ):
        expected, derivative = exact_binary(s, t)
        rel = 8 * torch.finfo(dtype).eps / min(abs(s - t) or 1, 1)
        assert value >= 0
        assert value == pytest.approx(expected, rel=rel, abs=0), (s, t)
        assert slope == pytest.approx(derivative, rel=rel, abs=0), (s, t)


def test_binary_form_in_pieces():
    """More rows than are computed at a time, as by themselves."""
    student, teacher = torch.randn(2, 3000, 80)
    weight = torch.rand(3000)
    x = student.clone().requires_grad_()
    loss = binary_kl_div_loss(x, teacher, temperature=2, weight=weight)
    loss.backward()
    for i in (0, 409, 410, 2999):
        row = student[i : i + 1].clone().requires_grad_()
        one = binary_kl_div_loss(row, teacher[i : i + 1], temperature=2)
        (one * weight[i] / 3000).backward()
        assert torch.allclose(row.grad[0], x.grad[i])
    rows = binary_kl_div_loss(
        student, teacher, temperature=2, reduction='none'
    )
    expected = binary_loops(student[:9].double(), teacher[:9].double(), 2)
    assert torch.allclose(rows[:9].double(), expected, rtol=1e-5)
    assert torch.allclose((rows * weight).mean(), loss)


def test_binary_form_at_its_edges():
    same = torch.tensor([[100.0, -100.0, 0.0]], requires_grad=True)
    assert binary_kl_div_loss(same, same) == 0
    far = binary_kl_div_loss(same, -same.detach())
    assert far.item() == pytest.approx(200)
    far.backward()
    assert same.grad.isfinite().all()
    half = binary_kl_div_loss(same.detach().half(), -same.detach().half())
    assert half.dtype == torch.float32 and half.item() == pytest.approx(200)
    empty = torch.zeros(0, 3, requires_grad=True)
    loss = binary_kl_div_loss(empty, empty.detach())
    assert loss == 0 and loss.requires_grad
    for temperature in (0, -1):
        with pytest.raises(ValueError, match='positive'):
            BinaryKLDivLoss(temperature)
        with pytest.raises(ValueError, match='positive'):
            binary_kl_div_loss(same, same, temperature=temperature)


def weighted_loops(student, teacher, temperature, beta):
    """BCKD's loss of each row."""
    rows = []
    for s, t in zip(student.tolist(), teacher.tolist()):
        total = 0.0
        for a, b in zip(s, t):
            p, q = (1 / (1 + math.exp(-x / temperature)) for x in (a, b))
            entropy = -q * math.log(p) - (1 - q) * math.log(1 - p)
            total += abs(p - q) ** beta * entropy
        rows.append(total * temperature**2)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize('temperature, beta', [(1.0, 1.0), (2.0, 1.5)])
def test_weighted_form(temperature, beta):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 7, 5, dtype=torch.float64) * 3
    settings = dict(temperature=temperature, beta=beta)
    expected = weighted_loops(student, teacher, temperature, beta)
    rows = binary_kl_div_loss(student, teacher, reduction='none', **settings)
    assert torch.allclose(rows, expected, rtol=1e-10)
    module = BinaryKLDivLoss(loss_weight=2, **settings)
    assert module(student, teacher).item() == pytest.approx(
        2 * expected.mean().item()
    )
    single = binary_kl_div_loss(student.float(), teacher.float(), **settings)
    assert single.item() == pytest.approx(expected.mean().item(), rel=1e-5)
    assert torch.autograd.gradcheck(
        lambda s: binary_kl_div_loss(s, teacher, **settings),
        student.requires_grad_(),
    )


def test_weighted_form_as_published():
    """Loss and gradient by novel_kd_loss in mmdet/models/losses/kd_loss.py of
    TinyTigerPan/BCKD at 121c9aa.
    """
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(
        2, 6, 4, generator=generator, dtype=torch.float64
    )
    x = student.requires_grad_()
    value = binary_kl_div_loss(x, teacher, beta=1, reduction='sum')
    value.backward()
    found = value.item(), x.grad.abs().sum().item()
    assert found == pytest.approx(
        (6.400515569356535, 6.418470976088187), rel=1e-10
    )


def test_weighted_form_at_its_edges():
    same = torch.tensor([[100.0, -100.0, 0.0]], requires_grad=True)
    value = binary_kl_div_loss(same, same, beta=1)
    value.backward()
    assert value == 0 and not same.grad.any()
    far = binary_kl_div_loss(same, -same.detach(), beta=1)
    assert far.item() == pytest.approx(200)
    far.backward()
    assert same.grad.isfinite().all()
    for beta in (-1, 0.5, math.nan):
        with pytest.raises(ValueError, match='beta must be 0 or at least 1'):
            BinaryKLDivLoss(beta=beta)
