"""DKD, NKD, DIST, CTKD and LSKD: golden values, loops, edges."""

import math

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from mmdet_rankkd import losses
from mmdet_rankkd.losses import (
    CTKDLoss,
    DISTLoss,
    DKDLoss,
    KendallRankLoss,
    KLDivLoss,
    MLKDLoss,
    NKDLoss,
    Schedule,
    ctkd_loss,
    dist_loss,
    dkd_loss,
    kl_div_loss,
    mlkd_loss,
    nkd_loss,
)
from mmdet_rankkd.losses.logit.ctkd import reversal

STUDENT = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64)
TEACHER = torch.tensor([[3.0, 1.0, 0.0]], dtype=torch.float64)
LABEL = torch.tensor([0])
BUILT = {
    'DKDLoss': {},
    'NKDLoss': {},
    'KLDivLoss': dict(temperature=2, standardized=True, loss_weight=9),
    'CTKDLoss': {},
    'CTKDLoss of rows': dict(num_classes=7),
    'DISTLoss': {},
    'KendallRankLoss': {},
}


def build(name):
    torch.manual_seed(0)
    kind = 'mmdet_rankkd.' + name.split()[0]
    return MODELS.build(dict(type=kind, **BUILT[name]))


def batch(rows=6, classes=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(rows, classes, generator=generator, dtype=dtype) * 2
        for _ in range(2)
    )
    labels = torch.randint(classes, (rows,), generator=generator)
    return student, teacher, labels


def softmax(row, temperature=1.0):
    exps = [math.exp(x / temperature) for x in row]
    return [x / sum(exps) for x in exps]


def loop_dkd(student, teacher, labels, alpha, beta, temperature):
    rows = []
    for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist()):
        p, q = softmax(s, temperature), softmax(t, temperature)
        target = sum(
            b * math.log(b / a)
            for a, b in ((p[y], q[y]), (1 - p[y], 1 - q[y]))
        )
        others = sum(
            b / (1 - q[y]) * math.log(b / (1 - q[y]) / (a / (1 - p[y])))
            for i, (a, b) in enumerate(zip(p, q))
            if i != y
        )
        rows.append(temperature**2 * (alpha * target + beta * others))
    return rows


def loop_nkd(student, teacher, labels, gamma, temperature):
    rows = []
    for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist()):
        hard = -softmax(t)[y] * math.log(softmax(s)[y])
        del s[y], t[y]
        soft = -sum(
            b * math.log(a)
            for a, b in zip(softmax(s, temperature), softmax(t, temperature))
        )
        rows.append(hard + gamma * temperature**2 * soft)
    return rows


@pytest.mark.parametrize(
    'alpha, beta, expected', [(1, 0, 0.818125563), (0, 1, 0.121495025)]
)
def test_dkd_golden(alpha, beta, expected):
    loss = dkd_loss(STUDENT, TEACHER, LABEL, alpha=alpha, beta=beta)
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_nkd_golden():
    loss = nkd_loss(STUDENT, TEACHER, LABEL)
    assert loss.item() == pytest.approx(2.184946782, abs=1e-9)


def test_lskd_golden():
    loss = 9 * kl_div_loss(STUDENT, TEACHER, temperature=2, standardized=True)
    assert loss.item() == pytest.approx(4.659088004, abs=1e-7)


def test_dist_golden():
    student = torch.tensor([[1.0, 2, 0], [0, 1, 3]], dtype=torch.float64)
    teacher = torch.tensor([[3.0, 1, 0], [1, 0, 2]], dtype=torch.float64)
    inter = dist_loss(student, teacher, gamma=0)
    assert inter.item() == pytest.approx(0.618503516, abs=1e-7)
    intra = dist_loss(student, teacher, beta=0)
    assert intra.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('classes', [2, 3, 20])
@pytest.mark.parametrize('temperature', [1, 4])
def test_dkd_equals_loops(classes, temperature):
    student, teacher, labels = batch(classes=classes)
    rows = dkd_loss(
        student,
        teacher,
        labels,
        alpha=0.5,
        beta=3,
        temperature=temperature,
        reduction='none',
    )
    expected = loop_dkd(student, teacher, labels, 0.5, 3, temperature)
    assert rows.tolist() == pytest.approx(expected, rel=1e-9)


def test_dkd_sums_to_kd():
    """KD = TCKD + (1 - q_y) NCKD."""
    student, teacher, labels = batch()
    rows = {
        ab: dkd_loss(
            student,
            teacher,
            labels,
            alpha=ab[0],
            beta=ab[1],
            reduction='none',
        )
        for ab in ((1, 0), (0, 1))
    }
    share = 1 - (teacher / 4).softmax(1).gather(1, labels[:, None])[:, 0]
    expected = kl_div_loss(student, teacher, temperature=4, reduction='none')
    total = rows[1, 0] + share * rows[0, 1]
    assert torch.allclose(total, expected, rtol=1e-10)


@pytest.mark.parametrize('temperature', [1, 3])
def test_nkd_equals_loops(temperature):
    student, teacher, labels = batch()
    rows = nkd_loss(
        student, teacher, labels, temperature=temperature, reduction='none'
    )
    expected = loop_nkd(student, teacher, labels, 1.5, temperature)
    assert rows.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('temperature', [1, 4])
def test_dist_equals_numpy(temperature):
    student, teacher, _ = batch()
    p, q = ((x / temperature).softmax(1).numpy() for x in (student, teacher))
    inter = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p, q)])
    intra = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T)])
    loss = dist_loss(
        student, teacher, beta=0.5, gamma=2, temperature=temperature
    )
    expected = temperature**2 * (0.5 * inter + 2 * intra)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def published_dist(student, teacher):
    """The correlations of the published code, by its formula."""

    def relation(x, y):
        x, y = (z - z.mean(1, keepdim=True) for z in (x, y))
        norms = x.norm(dim=1) * y.norm(dim=1)
        return 1 - ((x * y).sum(1) / (norms + 1e-8)).mean()

    p, q = student.softmax(1), teacher.softmax(1)
    return relation(p, q) + relation(p.t(), q.t())


SHAPES = [(1, 2), (2, 7), (4, 3), (5, 81), (8, 10), (64, 100), (16, 1000)]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize(
    'dtype', [torch.float16, torch.float32, torch.float64]
)
def test_dist_of_constant_rows(shape, dtype):
    """Equal logits on both sides: 1 a term, and nothing to learn."""
    for value in (0, 3):
        student = torch.full(shape, value, dtype=dtype, requires_grad=True)
        loss = dist_loss(student, torch.zeros(shape, dtype=dtype))
        loss.backward()
        assert loss.item() == 2
        assert student.grad.abs().max() == 0


@pytest.mark.parametrize('shape', SHAPES[1:])
@pytest.mark.parametrize('scale', [0.0, 1e-3, 1.0])
def test_dist_equals_the_published_formula(shape, scale):
    """Value and gradient, of a zero-initialised head as well."""
    student, teacher, _ = batch(*shape)
    student, teacher = scale * student, teacher / 8
    results = []
    for dtype in (torch.float64, torch.float32):
        x = student.detach().clone().to(dtype).requires_grad_()
        loss = dist_loss(x, teacher.to(dtype))
        loss.backward()
        results.append((loss.item(), x.grad.double()))
    x = student.clone().requires_grad_()
    expected = published_dist(x, teacher)
    expected.backward()
    size = x.grad.abs().max()
    for (value, grad), rel in zip(results, (1e-9, 1e-3)):
        assert value == pytest.approx(expected.item(), rel=rel, abs=rel)
        assert (grad - x.grad).abs().max() <= rel * size


def test_dist_of_a_constant_student_in_float16():
    """At the size of a batch of CIFAR-100 its gradient is finite."""
    teacher = batch(64, 100)[1].half()
    student = torch.zeros(64, 100, dtype=torch.float16, requires_grad=True)
    dist_loss(student, teacher).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() > 0


def loop_standardize(logits, min_std):
    rows = []
    for row in logits.tolist():
        mean = sum(row) / len(row)
        var = sum((x - mean) ** 2 for x in row) / (len(row) - 1)
        std = max(math.sqrt(var), min_std) + 1e-7
        rows.append([(x - mean) / std for x in row])
    return torch.tensor(rows, dtype=torch.float64)


STANDARDIZED = [
    ('KLDivLoss', dict(temperature=2)),
    ('DKDLoss', {}),
    ('CTKDLoss', {}),
    ('CTKDLoss', dict(num_classes=7)),
]
MIN_STDS = [1e-6, 1e-3, 1e-2, 10.0]


def narrow_batch():
    """Rows whose standard deviations are around those floors."""
    student, teacher, labels = batch()
    scales = torch.tensor([1e-7, 1e-5, 1e-3, 3e-3, 0.1, 1.0])[:, None]
    return student * scales, teacher, labels


@pytest.mark.parametrize('name, settings', STANDARDIZED)
@pytest.mark.parametrize('min_std', [None, *MIN_STDS])
def test_floor_of_the_standard_deviation(name, settings, min_std):
    """As if logits came standardised with that floor; 1e-3 by default."""
    kind = getattr(losses, name)
    floor = {} if min_std is None else dict(min_std=min_std)
    loss = kind(standardized=True, **floor, **settings).double()
    plain = kind(**settings).double()
    for parameter in loss.parameters():
        torch.nn.init.normal_(parameter)
    plain.load_state_dict(loss.state_dict())
    student, teacher, labels = narrow_batch()
    value = loss(student, teacher, labels=labels)
    done = [loop_standardize(x, min_std or 1e-3) for x in (student, teacher)]
    expected = plain(*done, labels=labels)
    assert value.item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize('min_std', MIN_STDS)
def test_floor_of_mlkd(min_std):
    """It has standardised logits in its KD terms alone."""
    student, teacher, _ = narrow_batch()
    strong = student.flip(0), teacher
    settings = dict(standardized=True, min_std=min_std, temperatures=(2, 3))
    loss = MLKDLoss(**settings)(student, teacher, strong=strong)
    expected = loop_mlkd(
        student,
        teacher,
        strong,
        (2, 3),
        slip=False,
        floor=min_std,
    )
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    'name', ['KLDivLoss', 'DKDLoss', 'CTKDLoss', 'MLKDLoss']
)
@pytest.mark.parametrize('min_std', [0, -1, math.nan])
def test_floor_must_be_positive(name, min_std):
    with pytest.raises(ValueError, match='min_std must be positive'):
        getattr(losses, name)(min_std=min_std)
    student, teacher, _ = batch()
    with pytest.raises(ValueError, match='min_std must be positive'):
        kl_div_loss(student, teacher, standardized=True, min_std=min_std)


@pytest.mark.parametrize('name', BUILT)
def test_gradcheck(name):
    student, teacher, labels = batch(rows=3)
    loss = build(name).double()
    student.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: loss(x, teacher, labels=labels).square(), (student,)
    )


@pytest.mark.parametrize('name', BUILT)
def test_no_rows_is_zero_and_attached(name):
    student = torch.zeros(0, 7, requires_grad=True)
    labels = torch.zeros(0).long()
    loss = build(name)(student, torch.zeros(0, 7), labels=labels)
    loss.backward()
    assert loss.item() == 0 and student.grad.shape == (0, 7)


@pytest.mark.parametrize('name', sorted(set(BUILT) - {'DISTLoss'}))
def test_weights_and_avg_factor(name):
    student, teacher, labels = batch()
    loss = build(name).double()
    weight = torch.arange(6.0).double()
    rows = loss(student, teacher, labels=labels, reduction_override='none')
    value = loss(student, teacher, weight, 4.0, labels=labels)
    assert torch.allclose(value, (rows * weight).sum() / 4)


@pytest.mark.parametrize('name', BUILT)
def test_finite_for_confident_logits(name):
    """The target's share rounds to one: log(1 - q_y) must not be -inf."""
    student = torch.zeros(2, 7)
    student[:, 3] = 300
    student.requires_grad_()
    teacher = torch.randn(2, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, 3])
    loss = build(name)(student, teacher, labels=labels)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


@pytest.mark.parametrize('name', ['DKDLoss', 'NKDLoss'])
def test_labels_are_checked(name):
    student, teacher, labels = batch()
    loss = build(name)
    with pytest.raises(ValueError, match='needs labels'):
        loss(student, teacher)
    with pytest.raises(ValueError, match='one label per row'):
        loss(student, teacher, labels=labels[:2])
    with pytest.raises(ValueError, match=r'\[0, 7\).*background=True'):
        loss(student, teacher, labels=labels + 7)
    with pytest.raises(ValueError, match='at least 2 classes'):
        loss(student[:, :1], teacher[:, :1], labels=labels)


def test_dist_refuses_weighted_rows():
    student, teacher, _ = batch()
    with pytest.raises(ValueError, match='not for RoI logits'):
        DISTLoss()(student, teacher, weight=torch.ones(6))
    with pytest.raises(ValueError, match='loss of a batch'):
        DISTLoss(reduction='sum')


@pytest.mark.parametrize(
    'kind, setting',
    [
        (DKDLoss, dict(alpha=-1)),
        (DKDLoss, dict(temperature=0)),
        (NKDLoss, dict(gamma=-1)),
        (DISTLoss, dict(temperature=-1)),
        (CTKDLoss, dict(length=0)),
        (CTKDLoss, dict(t_start=0)),
    ],
)
def test_bad_settings(kind, setting):
    with pytest.raises(ValueError):
        kind(**setting)


def test_ctkd_starts_as_kd_of_its_temperature():
    student, teacher, _ = batch()
    loss = CTKDLoss().double()
    temperature = 1 + 20 / (1 + math.exp(-1))
    assert temperature == pytest.approx(15.62, abs=0.01)
    expected = kl_div_loss(student, teacher, temperature=temperature)
    value = loss(student, teacher)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    rows = CTKDLoss(num_classes=7).double()(student, teacher)
    assert rows.item() == pytest.approx(expected.item(), rel=1e-6)


def test_ctkd_reversal_of_the_paper():
    values = [reversal(epoch, 10) for epoch in range(12)]
    assert values[:5] == pytest.approx(
        [-0.0245, -0.0955, -0.2061, -0.3455, -0.5], abs=1e-4
    )
    assert values[9:] == [-1, -1, -1]


def test_ctkd_gradient_of_the_temperature_is_reversed():
    student, teacher, _ = batch()
    loss = CTKDLoss(length=10).double()
    loss.set_progress(epoch=4, iteration=0)
    loss(student, teacher).backward()
    theta = loss.theta.detach().clone().requires_grad_()
    temperature = 1 + 20 * theta.sigmoid()
    p, q = ((x / temperature).softmax(1) for x in (student, teacher))
    (temperature**2 * (q * (q / p).log()).sum(1).mean()).backward()
    assert loss.theta.grad.item() == pytest.approx(-0.5 * theta.grad.item())
    assert theta.grad.item() != 0


def test_ctkd_functional():
    """A float64 loop with a temperature a row; gradcheck with the factor."""
    student, teacher, _ = batch()
    theta = torch.randn(len(student), 1, dtype=torch.float64)
    expected = []
    for s, t, x in zip(student, teacher, theta):
        temperature = 2 + 9 / (1 + math.exp(-x.item()))
        p, q = ((z / temperature).softmax(0) for z in (s, t))
        terms = [b * math.log(b / a) for a, b in zip(p.tolist(), q.tolist())]
        expected.append(temperature**2 * sum(terms))
    settings = dict(t_start=2, t_range=9)
    rows = ctkd_loss(student, teacher, theta, reduction='none', **settings)
    assert rows.tolist() == pytest.approx(expected)
    x, theta = student.clone().requires_grad_(), theta.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, y: ctkd_loss(x, teacher, y, factor=1.0, **settings),
        (x, theta),
    )
    with pytest.raises(ValueError, match='t_range'):
        ctkd_loss(student, teacher, theta, t_range=0)


def test_schedule():
    schedule = Schedule(begin=2, end=8, warmup=4)
    factors = [schedule.factor(epoch, 0) for epoch in range(10)]
    assert factors == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 0, 0]
    by_iteration = Schedule(warmup=2, by_epoch=False)
    assert by_iteration.factor(7, 0) == 0.5
    assert by_iteration.factor(0, 5) == 1
    with pytest.raises(ValueError, match='begin=3, end=3'):
        Schedule(begin=3, end=3)
    for name in ('begin', 'end', 'warmup'):
        with pytest.raises(ValueError, match=f'{name} .* must be finite'):
            Schedule(**{name: float('nan')})
    with pytest.raises(TypeError, match="by_epoch .* got 'no'"):
        Schedule(by_epoch='no')


def test_scheduled_loss():
    student, teacher, labels = batch()
    loss = DKDLoss(schedule=dict(warmup=20), loss_weight=2)
    full = loss(student, teacher, labels=labels)
    loss.set_progress(epoch=4, iteration=0)
    quarter = loss(student, teacher, labels=labels)
    assert torch.allclose(quarter, full / 4)
    assert loss.active
    ended = KLDivLoss(schedule=dict(end=1))
    ended.set_progress(epoch=1, iteration=0)
    assert not ended.active
    assert KendallRankLoss(loss_weight=0).active is False


def loop_mlkd(student, teacher, strong, temperatures, slip, floor=None):
    """The original code's sums, one number at a time."""

    def kd(s, t, temperature):
        if floor is not None:
            s, t = (loop_standardize(x, floor) for x in (s, t))
        rows = []
        for a, b in zip(s.tolist(), t.tolist()):
            p, q = softmax(a, temperature), softmax(b, temperature)
            rows.append(sum(y * math.log(y / x) for x, y in zip(p, q)))
        return temperature**2 * np.mean(rows)

    probs = np.array([softmax(row) for row in teacher.tolist()])
    top, mass = probs.max(1), probs.sum(0)
    m = np.mean(top <= np.percentile(top, 50))
    m_class = np.mean(mass <= np.percentile(mass, 50))
    total = 0.0
    for i, temperature in enumerate(temperatures):
        p, q = (
            np.array([softmax(row, temperature) for row in x.tolist()])
            for x in (student, teacher)
        )
        second = (student, teacher) if slip and i >= 3 else strong
        total += m * kd(student, teacher, temperature)
        total += kd(*second, temperature)
        total += m * ((q @ q.T - p @ p.T) ** 2).sum() / len(p)
        total += m_class * ((q.T @ q - p.T @ p) ** 2).sum() / p.shape[1]
    return total


@pytest.mark.parametrize('slip', [False, True])
@pytest.mark.parametrize('shape', [(5, 7), (4, 3), (1, 2)])
def test_mlkd_equals_loops(slip, shape):
    student, teacher, _ = batch(*shape)
    strong = torch.randn(2, *shape, dtype=torch.float64)
    loss = mlkd_loss(student, teacher, strong, reference_slip=slip)
    expected = loop_mlkd(student, teacher, strong, (4, 3, 5, 2, 6), slip)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_mlkd_gradcheck_and_standardisation():
    student, teacher, _ = batch(rows=4)
    strong = torch.randn(2, 4, 7, dtype=torch.float64)
    student.requires_grad_()
    settings = dict(temperatures=(2, 3), standardized=True)

    def loss(x, y):
        return mlkd_loss(x, teacher, (y, strong[1]), **settings)

    other = strong[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (student, other))
    plain = mlkd_loss(student, teacher, strong, temperatures=(2, 3))
    assert loss(student, other).item() != pytest.approx(plain.item())


def test_mlkd_refuses_what_it_cannot_serve():
    student, teacher, _ = batch()
    loss = MLKDLoss(loss_weight=2)
    with pytest.raises(ValueError, match='strongly augmented'):
        loss(student, teacher)
    with pytest.raises(ValueError, match='cannot weigh'):
        loss(student, teacher, torch.ones(6), strong=(student, teacher))
    with pytest.raises(ValueError, match='same images'):
        loss(student, teacher, strong=(student[:2], teacher[:2]))
    with pytest.raises(ValueError, match='loss of a batch'):
        MLKDLoss(reduction='none')
    with pytest.raises(ValueError, match='positive'):
        MLKDLoss(temperatures=(4, 0))
    value = loss(student, teacher, strong=(student, teacher))
    expected = mlkd_loss(student, teacher, (student, teacher))
    assert torch.allclose(value, 2 * expected)
    nothing = torch.zeros(0, 7, requires_grad=True)
    empty = loss(nothing, nothing.detach(), strong=(nothing, nothing))
    empty.backward()
    assert empty.item() == 0
