"""Drawn inputs: finite values and gradients, ranges, no teacher's gradient.

A tenth of the cases is drawn here; RANKKD_CASES=10000 draws all of them.
Cases are drawn by seed, many a test, and by Hypothesis, which looks for the
smallest that fails.
"""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_rankkd import losses

CASES = int(os.environ.get('RANKKD_CASES', 1000))
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
#: Hypothesis draws as many of each function of logits.
DRAWN = max(10, CASES // 40)


def labels_of(student):
    return torch.arange(len(student)) % student.shape[1]


def ctkd(student, teacher):
    return losses.ctkd_loss(student, teacher, torch.full((), 2.5))


def mlkd(student, teacher):
    return losses.mlkd_loss(student, teacher, (student.flip(0), teacher))


def kendall(**settings):
    return lambda s, t: losses.kendall_rank_loss(s, t, **settings)


#: Functions of logits, the fewest classes, and the range of their values.
LOGITS = {
    'kl': (losses.kl_div_loss, 1, (0, None)),
    'kl, T=4': (
        lambda s, t: losses.kl_div_loss(s, t, temperature=4),
        1,
        (0, None),
    ),
    'kl, standardised': (
        lambda s, t: losses.kl_div_loss(s, t, standardized=True),
        1,
        (0, None),
    ),
    'binary kl': (losses.binary_kl_div_loss, 1, (0, None)),
    'dkd': (
        lambda s, t: losses.dkd_loss(s, t, labels_of(s)),
        2,
        (0, None),
    ),
    'nkd': (
        lambda s, t: losses.nkd_loss(s, t, labels_of(s)),
        2,
        (0, None),
    ),
    'dist': (losses.dist_loss, 1, (0, 4)),
    'ctkd': (ctkd, 1, (0, None)),
    'mlkd': (mlkd, 1, (0, None)),
    'kendall': (kendall(), 1, (-1, 1)),
    'kendall 2': (kendall(form=2), 1, (-1, 1)),
    'kendall 3': (kendall(form=3), 1, (-1, 1)),
    'kendall, raw': (kendall(normalize=False), 1, (-1, 1)),
    'kendall, k=20': (kendall(k=20), 1, (-1, 1)),
    'kendall, top': (kendall(channels='top', percent=50), 1, (-1, 1)),
}


def masks_of(maps):
    return maps[:, 0] > 0


#: Functions of feature maps, whose values are at least 0.
MAPS = {
    'fitnet': losses.fitnet_loss,
    'at': losses.at_loss,
    'cwd': losses.cwd_loss,
    'mgd': losses.mgd_loss,
    'pkd': losses.pkd_loss,
    'hcl': losses.hcl_loss,
    'fgd, global': losses.fgd_global_loss,
    'fgd, focal': lambda s, t: losses.fgd_focal_loss(
        s, t, masks_of(t).to(t.dtype)
    ),
    'fgfi': lambda s, t: losses.fgfi_loss([s], [t], [masks_of(t)]),
    'ofd': lambda s, t: losses.ofd_loss(s, t, -torch.ones(s.shape[1])),
}
#: What these divide by can be so small that a gradient, though finite, is
#: beyond float16: rows of equal logits, channels of equal values, maps of
#: values below 1e-5.
BEYOND_FLOAT16 = ('dist', 'pkd', 'at')
SCALES = (0.0, 1e-6, 1e-2, 1.0, 30.0, 1e4)


def draw(generator, shape):
    """Values of a scale, perhaps tied, constant, or with a spike."""

    def choose(count):
        return int(torch.randint(count, (1,), generator=generator))

    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    kind = choose(5)
    if kind == 0:
        x = x.round()
    elif kind == 1:
        x = x[..., :1].expand(shape)
    elif kind == 2:
        x = torch.where(x == x.amax(-1, keepdim=True), x, 0)
    return SCALES[choose(len(SCALES))] * x


def pairs(seed, count, dtype, fewest=1, maps=False):
    """Inputs of student and teacher, the same ones now and then."""
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        n, c = (
            int(x)
            for x in (
                torch.randint(0, 5, (1,), generator=generator),
                torch.randint(fewest, 9, (1,), generator=generator),
            )
        )
        shape = (n, c, 1 + number % 4, 1 + number % 3) if maps else (n, c)
        if shape[-1] == 0:
            continue
        student = draw(generator, shape).to(dtype)
        teacher = draw(generator, shape).to(dtype)
        yield student, student.clone() if number % 7 == 0 else teacher


def check(function, student, teacher, low, high, held=True):
    """What must hold of one case; ``held``: also of the gradient's size."""
    student = student.detach().requires_grad_()
    teacher = teacher.detach().requires_grad_()
    value = function(student, teacher)
    case = f'{student.dtype} {student.tolist()} {teacher.tolist()}'
    assert value.ndim == 0 and value.isfinite(), case
    wide = student.dtype == torch.float64
    assert value.dtype == (torch.float64 if wide else torch.float32)
    slack = 1e-4 * max(1.0, float(student.detach().double().abs().sum()))
    assert low is None or value >= low - slack, (value, case)
    assert high is None or value <= high + 1e-4, (value, case)
    (gradient,) = torch.autograd.grad(value, student, allow_unused=True)
    assert gradient is not None
    assert gradient.isfinite().all() or not held, case
    assert gradient.dtype == student.dtype
    assert teacher.grad is None


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('name', LOGITS)
def test_logits(name, dtype):
    function, fewest, (low, high) = LOGITS[name]
    count = CASES // (len(LOGITS) + len(MAPS)) // len(DTYPES) + 1
    for student, teacher in pairs(1, count, dtype, fewest):
        held = dtype != torch.float16 or name not in BEYOND_FLOAT16
        check(function, student, teacher, low, high, held)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('name', MAPS)
def test_maps(name, dtype):
    count = CASES // (len(LOGITS) + len(MAPS)) // len(DTYPES) + 1
    for student, teacher in pairs(2, count, dtype, maps=True):
        held = dtype != torch.float16 or name not in BEYOND_FLOAT16
        check(MAPS[name], student, teacher, 0, None, held)


@st.composite
def logits(draw, fewest):
    """Two tensors (N, C) of a dtype, with values that meet often."""
    n, c = draw(st.integers(0, 3)), draw(st.integers(fewest, 5))
    values = st.one_of(
        st.sampled_from([0.0, 1.0, -1.0, 1e4, -1e4, 1e-7]),
        st.floats(-1e4, 1e4, width=16),
    )
    flat = draw(st.lists(values, min_size=2 * n * c, max_size=2 * n * c))
    pair = torch.tensor(flat, dtype=torch.float64).view(2, n, c)
    return pair.to(draw(st.sampled_from(DTYPES)))


@pytest.mark.parametrize('name', LOGITS)
def test_hypothesis(name):
    function, fewest, (low, high) = LOGITS[name]

    @settings(
        max_examples=DRAWN, deadline=None, derandomize=True, database=None
    )
    @given(logits(fewest))
    def run(pair):
        held = pair.dtype != torch.float16 or name not in BEYOND_FLOAT16
        check(function, *pair, low, high, held)

    run()
