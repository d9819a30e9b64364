"""The fast paths of the ranking loss: exact, linear in memory, compiled once.

Whatever is compiled here is compiled for all N and C, so that the many cases
below share a few graphs.
"""

import itertools
import math
import warnings

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from mmdet_rankkd.losses import kendall_rank_loss, kendall_tau, standardize
from mmdet_rankkd.ops import forget_compiled, pairwise

from ..helpers import allocations
from ..programs import run_two_processes

BACKENDS = ['eager', 'compiled']


def oracle(student, teacher, k=1.0, form=1, normalize=True):
    """Rows, gradient and its size before the projection, in float64."""
    student = student.detach().double().clone().requires_grad_()
    x, y = student, teacher.double()
    if normalize:
        x, y = standardize(x), standardize(y)
    rows = []
    for a, b in zip(x, y):
        a, b = a[:, None] - a, b[:, None] - b
        if form == 2:
            pairs = torch.tanh(k * a * b)
        else:
            t = torch.sign(b) if form == 3 else torch.tanh(k * b)
            pairs = t * torch.tanh(k * a)
        rows.append(-pairs.sum() / (len(a) * (len(a) - 1)))
    rows = torch.stack(rows)
    grad, scale = torch.autograd.grad(rows.sum(), (student, x))
    if normalize:
        # Two standardised logits are fixed: nothing is left of the gradient.
        scale = scale / student.std(1, keepdim=True).clamp(min=1e-3)
    return rows.detach(), grad, scale.abs().amax(1, keepdim=True).detach()


def batch(kind, classes, rows=3):
    generator = torch.Generator().manual_seed(classes)
    a, b, c = torch.randn(
        3, rows, classes, generator=generator, dtype=torch.float64
    )
    if kind == 'correlated':
        return 3 * a, 3 * a + b
    if kind == 'one-hot':
        peak = torch.zeros_like(a)
        peak[:, 0] = 9
        return peak + a / 10, peak + b / 5
    if kind == 'heavy tails':
        return a / c, b / c.flip(1)
    if kind == 'tied':
        return a.round(), b.round()
    if kind == 'constant':
        return torch.full_like(a, 2.5), b
    return a, b


def check(pair, backend, dtype, rtol, **settings):
    pair = [x.to(dtype) for x in pair]
    expected, grad, scale = oracle(*pair, **settings)
    student = pair[0].clone().requires_grad_()
    rows = kendall_rank_loss(
        student, pair[1], reduction='none', backend=backend, **settings
    )
    rows.sum().backward()
    assert rows.dtype == dtype
    assert (rows.double() - expected).abs().max() <= rtol
    error = (student.grad.double() - grad).abs() / scale.clamp(min=1e-12)
    assert error.max() <= rtol


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('classes', [2, 3, 10, 81, 100, 366, 1000, 1203])
@pytest.mark.parametrize(
    'kind',
    ['normal', 'correlated', 'one-hot', 'heavy tails', 'tied', 'constant'],
)
def test_equals_float64_oracle(backend, classes, kind):
    for k in (0.1, 0.5, 1, 2, 4, 6):
        check(batch(kind, classes, 2), backend, torch.float64, 1e-10, k=k)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('classes', [3, 10, 81, 366, 1203])
@pytest.mark.parametrize('kind', ['normal', 'correlated', 'one-hot', 'tied'])
def test_float32(backend, classes, kind):
    for k in (0.1, 1, 6):
        # What float32 leaves of standardised logits is about k * 1e-6.
        rtol = 2e-5 if k > 1 else 2e-6 * math.sqrt(classes)
        check(batch(kind, classes), backend, torch.float32, rtol, k=k)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('form', [1, 2, 3])
@pytest.mark.parametrize('normalize', [True, False])
def test_forms(backend, form, normalize):
    for k in (0.5, 6):
        pair = batch('normal', 20)
        check(
            pair,
            backend,
            torch.float64,
            1e-10,
            k=k,
            form=form,
            normalize=normalize,
        )


@pytest.mark.parametrize('normalize', [True, False])
@pytest.mark.parametrize('channels', ['all', 'top', 'min'])
def test_compiled_equals_eager(normalize, channels):
    weight = torch.tensor([0.5, 0, 2], dtype=torch.float64)
    results = []
    for backend in BACKENDS:
        student, teacher = batch('normal', 30)
        student.requires_grad_()
        loss = kendall_rank_loss(
            student,
            teacher,
            normalize=normalize,
            channels=channels,
            percent=30,
            weight=weight,
            avg_factor=2,
            backend=backend,
        )
        loss.backward()
        results.append((loss.detach(), student.grad))
    for eager, compiled in zip(*results):
        assert torch.allclose(eager, compiled, rtol=1e-12, atol=1e-14)


def test_gradcheck_of_the_compiled_path():
    student, teacher = batch('normal', 5)

    def loss(x):
        return 3 * kendall_rank_loss(x, teacher, backend='compiled').square()

    assert torch.autograd.gradcheck(loss, (student.requires_grad_(),))


def test_rows_do_not_see_each_other():
    """Full blocks of lanes, a last one that is not, and pieces of N."""
    student, teacher = batch('normal', 1000, rows=300)
    student, teacher = student.float(), teacher.float()
    assert student.numel() > 2**18
    rows = kendall_rank_loss(
        student, teacher, backend='compiled', reduction='none'
    )
    some = [0, 1, 15, 16, 149, 150, 297, 299]
    expected = oracle(student[some], teacher[some])[0]
    assert torch.allclose(rows[some].double(), expected, atol=2e-6)


def test_non_finite_rows_stay_alone():
    student, teacher = batch('normal', 5, rows=20)
    student[3, 1], teacher[18, 0] = math.nan, math.inf
    rows = kendall_rank_loss(
        student, teacher, backend='compiled', reduction='none'
    )
    assert rows.isnan().nonzero().flatten().tolist() == [3, 18]


def test_large_scores_do_not_overflow():
    """One class far from 2,999 others, k = 6: exponentials are refused."""
    student, teacher = torch.zeros(2, 1, 3000)
    student[0, 7], teacher[0, 7] = 1, 1
    for backend in BACKENDS:
        loss = kendall_rank_loss(student, teacher, k=6, backend=backend)
        assert loss.item() == pytest.approx(-2 / 3000, rel=1e-5)


@pytest.mark.parametrize('backend', BACKENDS)
def test_second_derivative_is_refused(backend):
    student, teacher = batch('normal', 5)
    student.requires_grad_()
    loss = kendall_rank_loss(student, teacher, backend=backend)
    with pytest.raises(RuntimeError, match='no second derivative'):
        torch.autograd.grad(loss, student, create_graph=True)


@pytest.mark.parametrize('backend', BACKENDS)
def test_autocast_and_checkpointing(backend):
    student, teacher = (x.bfloat16() for x in batch('normal', 81, rows=20))
    student.requires_grad_()

    def loss(x):
        return kendall_rank_loss(x, teacher, backend=backend)

    with torch.autocast('cpu', torch.bfloat16):
        value = checkpoint(loss, student, use_reentrant=False)
    value.backward()
    expected, grad, _ = oracle(student.detach(), teacher)
    assert value.item() == pytest.approx(expected.mean().item(), rel=1e-5)
    assert torch.allclose(
        student.grad.double(), grad / 20, rtol=1e-2, atol=1e-6
    )


def test_in_a_compiled_model():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(4, 81)

        def forward(self, x, teacher):
            return kendall_rank_loss(self.fc(x), teacher)

    torch.manual_seed(0)
    model = Model()
    x, teacher = torch.randn(32, 4), torch.randn(32, 81)
    expected = model(x, teacher)
    (grad,) = torch.autograd.grad(expected, model.fc.weight)
    loss = torch.compile(model, fullgraph=True)(x, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(model.fc.weight.grad, grad, atol=1e-7)


def count_graphs(monkeypatch, sizes, classes=33):
    """Graphs that the compiler makes for these N; two stages have two."""
    from torch._dynamo.utils import counters

    forget_compiled()
    monkeypatch.setattr(pairwise, 'MIN_PAIRS_TO_COMPILE', 0)
    counters.clear()
    for rows in sizes:
        student = torch.randn(rows, classes, requires_grad=True)
        kendall_rank_loss(student, torch.randn(rows, classes)).backward()
    return counters['stats']['unique_graphs']


def test_one_compilation_for_all_n(monkeypatch):
    sizes = [100, 512, 17, 2048, 31, 33, 512, 999]
    assert count_graphs(monkeypatch, sizes) == 2


def test_up_to_lanes_rows_are_one_case_more(monkeypatch):
    assert count_graphs(monkeypatch, [100, 16, 1, 5, 200, 12]) == 4


def test_one_compilation_for_all_k_and_c(monkeypatch):
    from torch._dynamo.utils import counters

    assert count_graphs(monkeypatch, [100]) == 2
    for k, classes in [(0.5, 33), (0.7, 20), (1, 50)]:
        pair = torch.randn(2, 100, classes)
        kendall_rank_loss(*pair, k=k)
    assert counters['stats']['unique_graphs'] == 2


def test_little_work_is_not_compiled(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('compiled')

    monkeypatch.setattr(torch, 'compile', refuse)
    forget_compiled()
    pair = torch.randn(2, 16, 81)
    kendall_rank_loss(*pair)
    kendall_tau(*pair)


def test_without_a_compiler(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('no working C++ compiler found')

    monkeypatch.setattr(torch, 'compile', fail)
    forget_compiled()
    pair = torch.randn(2, 512, 81)
    with pytest.warns(RuntimeWarning, match='no working C') as caught:
        loss = kendall_rank_loss(*pair)
    assert len(caught) == 1
    expected = kendall_rank_loss(*pair, backend='eager')
    assert torch.equal(loss, expected)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        kendall_rank_loss(*pair)
        kendall_tau(*pair)
    with pytest.raises(RuntimeError, match='no working C'):
        kendall_rank_loss(*pair, backend='compiled')
    forget_compiled()


def test_tau_backends_agree(monkeypatch):
    student, teacher = batch('tied', 81, rows=100)
    expected = kendall_tau(student, teacher)
    monkeypatch.setattr(pairwise, 'MIN_PAIRS_TO_COMPILE', 0)
    assert torch.equal(kendall_tau(student, teacher), expected)


def peak_of(function):
    """Most bytes of tensors alive at a time."""
    return max(itertools.accumulate(allocations(function)))


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('rows, classes', [(2**13, 81), (2**15, 81)])
def test_memory_is_linear(backend, rows, classes):
    """At most four tensors of (N, C) beside the inputs; the naive formula
    takes 5 C of them.
    """
    student = torch.randn(rows, classes, requires_grad=True)
    teacher = torch.randn(rows, classes)

    def step():
        kendall_rank_loss(student, teacher, backend=backend).backward()

    step()
    one = student.nbytes
    # The gradient is one tensor.
    assert one <= peak_of(step) <= 4 * one


def test_memory_is_measured():
    x = torch.randn(2**13, 81)
    assert peak_of(lambda: (x * 2 + x).sum()) == 2 * x.nbytes


DDP_SCRIPT = """
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from mmdet_rankkd.losses import kendall_rank_loss
dist.init_process_group('gloo')
rank = dist.get_rank()
torch.manual_seed(0)
x, teacher = torch.randn(64, 5), torch.randn(64, 81)
net = torch.nn.Linear(5, 81)
whole = kendall_rank_loss(net(x), teacher, backend='eager')
expected, = torch.autograd.grad(whole, net.weight)
part = slice(32 * rank, 32 * rank + 32)
ddp = DistributedDataParallel(net)
kendall_rank_loss(ddp(x[part]), teacher[part], backend='compiled').backward()
torch.testing.assert_close(net.weight.grad, expected, rtol=1e-4, atol=1e-7)
"""


def test_compiled_under_ddp():
    """Two processes average to the gradient of the whole batch."""
    run_two_processes(DDP_SCRIPT)
