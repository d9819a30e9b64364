import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau

from mmdet_rankkd.losses import (
    KendallRankLoss,
    kendall_rank_loss,
    kendall_tau,
    standardize,
)

STUDENT = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64)
TEACHER = torch.tensor([[3.0, 1.0, 0.0]], dtype=torch.float64)


def random_pair(rows, classes, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(rows, classes, generator=generator, dtype=dtype) * 3
        for _ in range(2)
    ]


def loop_standardize(row, unbiased, eps):
    mean = sum(row) / len(row)
    divisor = len(row) - 1 if unbiased else len(row)
    std = math.sqrt(sum((x - mean) ** 2 for x in row) / divisor)
    return [(x - mean) / (std + eps) for x in row]


def loop_loss(student, teacher, k, form, normalize, unbiased, eps=1e-7):
    """Eq. 6 and 7 as printed, in Python floats."""
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist()):
        if normalize:
            s = loop_standardize(s, unbiased, eps)
            t = loop_standardize(t, unbiased, eps)
        classes, tau = len(s), 0.0
        for i in range(classes):
            for j in range(i):
                ds, dt = s[i] - s[j], t[i] - t[j]
                if form == 1:
                    tau += math.tanh(k * dt) * math.tanh(k * ds)
                elif form == 2:
                    tau += math.tanh(k * dt * ds)
                else:
                    tau += float(np.sign(dt)) * math.tanh(k * ds)
        total -= 2 / (classes * (classes - 1)) * tau
    return total / len(student)


@pytest.mark.parametrize(
    'form, normalize, unbiased, expected',
    [
        (1, False, True, -0.252609295),
        (2, False, True, -0.331684918),
        (3, False, True, -0.321342527),
        (1, True, True, -0.209404615),
        (2, True, True, -0.320463636),
        (3, True, True, -0.321342522),
        (1, True, False, -0.235678892),
        (2, True, False, -0.331497221),
        (3, True, False, -0.328400642),
    ],
)
def test_golden_values(form, normalize, unbiased, expected):
    loss = kendall_rank_loss(
        STUDENT, TEACHER, form=form, normalize=normalize, unbiased=unbiased
    )
    assert loss.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    'normalize, expected',
    [
        (False, [-0.274254771, 0.117019864, 0.157234907]),
        (True, [-0.255553133, 0.127776564, 0.127776569]),
    ],
)
def test_golden_gradients(normalize, expected):
    student = STUDENT.clone().requires_grad_()
    kendall_rank_loss(student, TEACHER, normalize=normalize).backward()
    assert student.grad[0].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('form', [1, 2, 3])
@pytest.mark.parametrize('normalize', [True, False])
@pytest.mark.parametrize('unbiased', [True, False])
@pytest.mark.parametrize('k', [0.1, 1.0, 6.0])
@pytest.mark.parametrize('shape', [(5, 2), (3, 7), (2, 20)])
def test_equals_loops(form, normalize, unbiased, k, shape):
    student, teacher = random_pair(*shape)
    loss = kendall_rank_loss(
        student,
        teacher,
        k=k,
        form=form,
        normalize=normalize,
        unbiased=unbiased,
    )
    expected = loop_loss(student, teacher, k, form, normalize, unbiased)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('k', [0.5, 1.0, 2.0, 4.0])
def test_gradient_is_twice_that_of_eq_10(k):
    student, teacher = random_pair(1, 6)
    student.requires_grad_()
    kendall_rank_loss(student, teacher, k=k, normalize=False).backward()
    classes = 6
    for i in range(classes):
        printed = 0.0
        for j in range(classes):
            if j == i:
                continue
            ds = (student[0, i] - student[0, j]).item()
            dt = (teacher[0, i] - teacher[0, j]).item()
            printed += (1 - math.tanh(k * ds) ** 2) * math.tanh(k * dt)
        printed *= -k / (classes * (classes - 1))
        assert student.grad[0, i].item() == pytest.approx(2 * printed)


@pytest.mark.parametrize('form', [1, 2, 3])
@pytest.mark.parametrize('normalize', [True, False])
@pytest.mark.parametrize('channels', ['all', 'top', 'min'])
def test_gradcheck(form, normalize, channels):
    student, teacher = random_pair(3, 6)
    student.requires_grad_()
    weight = torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64)

    def loss(x):
        # Not the last operation, so that the incoming gradient is not 1.
        return (
            3
            * kendall_rank_loss(
                x,
                teacher,
                k=1.5,
                form=form,
                normalize=normalize,
                channels=channels,
                percent=50,
                weight=weight,
            ).square()
        )

    assert torch.autograd.gradcheck(loss, (student,))


def test_teacher_gets_no_gradient():
    student, teacher = random_pair(3, 4)
    student.requires_grad_()
    teacher.requires_grad_()
    kendall_rank_loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_gradient_sums_to_zero_over_classes():
    student, teacher = random_pair(4, 9)
    student.requires_grad_()
    kendall_rank_loss(student, teacher, normalize=False).backward()
    assert student.grad.sum(1).abs().max() < 1e-15


def test_standardize_against_torch():
    x = random_pair(4, 9)[0]
    for unbiased in (True, False):
        std, mean = torch.std_mean(x, 1, unbiased=unbiased, keepdim=True)
        expected = (x - mean) / (std + 1e-7)
        assert torch.allclose(
            standardize(x, 1e-7, unbiased), expected, rtol=1e-12
        )


@pytest.mark.parametrize('channels, kept', [('top', [0, 2]), ('min', [1, 3])])
def test_channels_are_chosen_by_the_teacher(channels, kept):
    teacher = torch.tensor([[4.0, 1.0, 3.0, 2.0]], dtype=torch.float64)
    student = random_pair(1, 4)[0]
    loss = kendall_rank_loss(
        student, teacher, normalize=False, channels=channels, percent=50
    )
    expected = kendall_rank_loss(
        student[:, kept], teacher[:, kept], normalize=False
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


def test_reductions_weights_and_avg_factor():
    student, teacher = random_pair(4, 5)
    rows = kendall_rank_loss(student, teacher, reduction='none')
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5], dtype=torch.float64)
    assert rows.shape == (4,)
    for reduction, expected in (
        ('none', rows * weight),
        ('sum', (rows * weight).sum()),
        ('mean', (rows * weight).mean()),
    ):
        loss = kendall_rank_loss(
            student, teacher, weight=weight, reduction=reduction
        )
        assert torch.allclose(loss, expected)
    loss = kendall_rank_loss(student, teacher, weight=weight, avg_factor=3)
    assert torch.allclose(loss, (rows * weight).sum() / 3)
    with pytest.raises(ValueError, match='avg_factor'):
        kendall_rank_loss(student, teacher, avg_factor=3, reduction='sum')
    with pytest.raises(ValueError, match='reduction'):
        kendall_rank_loss(student, teacher, reduction='median')
    with pytest.raises(ValueError, match='one entry per row'):
        kendall_rank_loss(student, teacher, weight=weight[:2])


def test_ties_count_zero():
    student = torch.tensor([[1.0, 1.0, 5.0]], dtype=torch.float64)
    teacher = torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64)
    # Of three pairs one is tied in the student and one in the teacher.
    loss = kendall_rank_loss(student, teacher, normalize=False)
    expected = -(math.tanh(2) * math.tanh(-4)) / 3
    assert loss.item() == pytest.approx(expected)
    tau = kendall_tau(student, teacher)
    assert tau.item() == pytest.approx(-1 / 3)


@pytest.mark.parametrize('shape', [(0, 5), (0, 1), (3, 1)])
def test_nothing_to_rank_is_zero_and_attached(shape):
    student = torch.zeros(shape, requires_grad=True)
    loss = kendall_rank_loss(student, torch.zeros(shape))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.shape == shape
    assert student.grad.abs().sum() == 0


@pytest.mark.parametrize('value', [0.0, 3.0, 1e4])
def test_constant_student_rows(value):
    student = torch.full((4, 81), value, requires_grad=True)
    teacher = random_pair(4, 81, torch.float32)[1]
    loss = kendall_rank_loss(student, teacher)
    loss.backward()
    assert abs(loss.item()) < 1e-6
    # 2 / C per row, mean over 4 rows, over the floor of 1e-3.
    assert student.grad.abs().max() <= 2 / 81 / 4 / 1e-3
    assert student.grad.abs().sum() > 0  # it can leave the constant


def test_constant_teacher_row_teaches_nothing():
    student = random_pair(2, 5)[0].requires_grad_()
    loss = kendall_rank_loss(student, torch.ones(2, 5, dtype=torch.float64))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() == 0


def test_large_logits():
    student, teacher = random_pair(3, 10, torch.float32)
    loss = kendall_rank_loss(student * 1e4, teacher * 1e4)
    assert torch.allclose(loss, kendall_rank_loss(student, teacher))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = (x.to(dtype) for x in random_pair(8, 81))
    student.requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        loss = kendall_rank_loss(student, teacher)
    assert loss.dtype == torch.float32
    expected = kendall_rank_loss(student.double(), teacher.double())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert student.grad.dtype == dtype


def test_strides_do_not_matter():
    student, teacher = random_pair(6, 8)
    loss = kendall_rank_loss(student.t()[:, ::2], teacher.t()[:, ::2])
    expected = kendall_rank_loss(
        student.t()[:, ::2].contiguous(), teacher.t()[:, ::2].contiguous()
    )
    assert loss.item() == expected.item()


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('which', [0, 1])
@pytest.mark.parametrize('normalize', [True, False])
def test_non_finite_logits_give_nan(bad, which, normalize):
    pair = random_pair(3, 4)
    pair[which][1, 2] = bad
    rows = kendall_rank_loss(*pair, normalize=normalize, reduction='none')
    assert rows.isnan().tolist() == [False, True, False]


def test_shape_mismatch_names_both_shapes():
    with pytest.raises(ValueError, match=r'\(3, 4\).*\(3, 5\)'):
        kendall_rank_loss(torch.zeros(3, 4), torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r'\(3, 4, 2\)'):
        kendall_rank_loss(torch.zeros(3, 4, 2), torch.zeros(3, 4, 2))
    with pytest.raises(TypeError, match='int64'):
        kendall_rank_loss(torch.zeros(3, 4), torch.zeros(3, 4).long())


@pytest.mark.parametrize(
    'setting, word',
    [
        (dict(k=0), 'k must'),
        (dict(form=4), 'form'),
        (dict(eps=-1), 'eps'),
        (dict(min_std=0), 'min_std'),
        (dict(channels='best'), 'channels'),
        (dict(percent=0), 'percent'),
    ],
)
def test_bad_settings(setting, word):
    with pytest.raises(ValueError, match=word):
        KendallRankLoss(**setting)
    with pytest.raises(ValueError, match=word):
        kendall_rank_loss(torch.zeros(3, 4), torch.zeros(3, 4), **setting)


def test_module_equals_function():
    student, teacher = random_pair(4, 6)
    module = KendallRankLoss(k=2, form=3, unbiased=False, loss_weight=0.5)
    expected = 0.5 * kendall_rank_loss(
        student, teacher, k=2, form=3, unbiased=False
    )
    assert torch.equal(module(student, teacher), expected)
    rows = module(student, teacher, reduction_override='none')
    assert torch.allclose(rows.mean(), expected)


def test_identical_gaussian_logits_do_not_reach_minus_one():
    logits = torch.randn(2000, 100, generator=torch.Generator().manual_seed(0))
    assert kendall_rank_loss(logits, logits).item() == pytest.approx(
        -0.522, abs=2e-3
    )


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.float64, (2, 6), elements=st.floats(-5, 5, width=16)),
    arrays(np.float64, (2, 6), elements=st.floats(-5, 5, width=16)),
    st.floats(0.1, 6),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
)
def test_bounded_and_finite(student, teacher, k, form, normalize):
    student = torch.from_numpy(student).requires_grad_()
    loss = kendall_rank_loss(
        student, torch.from_numpy(teacher), k=k, form=form, normalize=normalize
    )
    loss.backward()
    assert -1 <= loss.item() <= 1
    assert student.grad.isfinite().all()


@settings(deadline=None, max_examples=40)
@given(st.floats(0.1, 10), st.floats(-10, 10), st.integers(0, 1000))
def test_invariant_to_scale_and_shift(scale, shift, seed):
    student, teacher = random_pair(2, 7, seed=seed)
    loss = kendall_rank_loss(student * scale + shift, teacher)
    expected = kendall_rank_loss(student, teacher)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize('classes', [2, 3, 10, 81])
def test_tau_equals_scipy(classes):
    student, teacher = random_pair(5, classes)
    taus = kendall_tau(student, teacher)
    for row in range(5):
        expected = kendalltau(student[row], teacher[row]).statistic
        assert taus[row].item() == pytest.approx(expected, abs=1e-6)


def test_tau_in_chunks():
    student, teacher = random_pair(7, 3000, torch.float32)
    taus = kendall_tau(student, teacher)  # one row at a time
    expected = [kendalltau(s, t).statistic for s, t in zip(student, teacher)]
    assert taus.tolist() == pytest.approx(expected, abs=1e-5)


def test_tau_edges():
    assert kendall_tau(torch.zeros(2, 1), torch.zeros(2, 1)).isnan().all()
    assert kendall_tau(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)
    ranks = torch.arange(6.0)[None]
    unknown = ranks.clone()
    unknown[0, 2] = torch.nan  # in 5 of 15 pairs
    assert kendall_tau(ranks, unknown).item() == pytest.approx(10 / 15)
    assert kendall_tau(ranks, ranks * 2).item() == 1
    assert kendall_tau(ranks, -ranks).item() == -1
    assert not kendall_tau(ranks.requires_grad_(), ranks).requires_grad
