"""Sums over all pairs of classes, without a tensor over all pairs.

The one computation that the ranking loss and Kendall's tau need, in two
equal forms: in blocks that fit the cache (eager), and fused by Inductor into
one loop that stores nothing per pair (compiled).
"""

import warnings
from functools import lru_cache, partial
from typing import Callable, Dict, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

BACKENDS = ('auto', 'compiled', 'eager')

# Below so many pairs of classes, `auto` does not compile.
MIN_PAIRS_TO_COMPILE = 2**19

# Rows side by side in memory, so that a vector unit takes one class of
# several rows at a time, with neither a remainder nor a horizontal sum.
LANES = 16

# Why a kind of device cannot compile, once that is known.
_failures: Dict[str, str] = {}


def tanh_of(difference: Tensor) -> Tensor:
    """``tanh`` with one vectorisable exponential."""
    decay = torch.expm1(-2 * difference.abs())
    return torch.copysign(decay / (decay + 2), difference)


def pair_sums(
    xi: Tensor,
    yi: Tensor,
    xj: Tensor,
    yj: Tensor,
    form: int,
    exponentials: bool,
) -> Tuple[Tensor, Tensor]:
    """Sum concordance and its derivative by ``x_i`` over j, dimension 2.

    With :math:`s = tanh(x_i - x_j)` and :math:`t = tanh(y_i - y_j)`,
    :math:`st` and :math:`(1 - s^2) t` (form 1), the same with
    :math:`t = sgn(y_i - y_j)` (form 3), or :math:`u` and
    :math:`(1 - u^2)(y_i - y_j)` with
    :math:`u = tanh((x_i - x_j)(y_i - y_j))` (form 2).

    Args:
        xi (Tensor): Student logits, broadcastable to (N, C_i, C_j, ...).
        yi (Tensor): Teacher logits, likewise.
        xj (Tensor): Student logits again.
        yj (Tensor): Teacher logits again.
        form (int): 1, 2 or 3.
        exponentials (bool): The tensors that go through tanh hold
            ``exp(2x)`` in place of ``x``: the difference of two of them over
            their sum is the tanh, so no exponential is needed per pair.
    """
    dy = yi - yj
    if form == 2:
        u = tanh_of((xi - xj) * dy)
        return u.sum(2), ((1 - u * u) * dy).sum(2)
    s = (xi - xj) / (xi + xj) if exponentials else tanh_of(xi - xj)
    if form == 3:
        t = torch.sign(dy)
    else:
        t = dy / (yi + yj) if exponentials else tanh_of(dy)
    st = s * t
    return st.sum(2), (t - s * st).sum(2)


def sign_sums(
    xi: Tensor, yi: Tensor, xj: Tensor, yj: Tensor
) -> Tuple[Tensor]:
    """Sum :math:`sgn(x_i - x_j) sgn(y_i - y_j)` over j, dimension 2."""
    return ((torch.sign(xi - xj) * torch.sign(yi - yj)).sum(2),)


# :func:`pair_sums` with its last two arguments set.
PAIR_KERNELS = {
    (form, exponentials): partial(
        pair_sums, form=form, exponentials=exponentials
    )
    for form in (1, 2, 3)
    for exponentials in (False, True)
}


def eager(kernel: Callable, x: Tensor, y: Tensor) -> Tuple[Tensor, ...]:
    """Evaluate the kernel on blocks of rows, or of parts of a row.

    Temporaries are of the size of a block: what fits a core's cache on a
    CPU, what fills a GPU elsewhere.
    """
    rows, classes = x.shape
    size = 2**17 if x.device.type == 'cpu' else 2**24
    at_once = max(1, size // classes**2)
    part = max(1, min(classes, size // classes))
    results = []
    for i in range(0, rows, at_once):
        a, b = x[i : i + at_once], y[i : i + at_once]
        parts = [
            kernel(
                a[:, j : j + part, None],
                b[:, j : j + part, None],
                a[:, None],
                b[:, None],
            )
            for j in range(0, classes, part)
        ]
        results.append([torch.cat(sums, 1) for sums in zip(*parts)])
    return tuple(torch.cat(sums) for sums in zip(*results))


@lru_cache(maxsize=None)
def _compile(kernel: Callable) -> Callable:
    def on_lanes(x: Tensor, y: Tensor) -> Tuple[Tensor, ...]:
        return kernel(x[:, :, None], y[:, :, None], x[:, None], y[:, None])

    # torch.compile counts recompilations by code object, so that kernels
    # which shared one would use up each other's allowance.
    on_lanes.__code__ = on_lanes.__code__.replace(co_name='pairs_on_lanes')
    return torch.compile(on_lanes, fullgraph=True)


def compiled(kernel: Callable, x: Tensor, y: Tensor) -> Tuple[Tensor, ...]:
    """Evaluate the kernel in one fused loop.

    Compiled at the first call for all N and C (once more for N <= LANES).
    """
    from torch._dynamo import mark_dynamic, mark_static

    rows, classes = x.shape
    blocks = -(-rows // LANES)
    x, y = (
        F.pad(z, (0, 0, 0, blocks * LANES - rows), value=1.0)
        .view(blocks, LANES, classes)
        .transpose(1, 2)
        .contiguous()
        for z in (x, y)
    )
    for z in (x, y):
        if blocks > 1:
            mark_dynamic(z, 0)
        mark_dynamic(z, 1)
        mark_static(z, 2)
    with torch.autocast(x.device.type, enabled=False):
        sums = _compile(kernel)(x, y)
    return tuple(
        z.transpose(1, 2).reshape(blocks * LANES, classes)[:rows] for z in sums
    )


def over_pairs(
    kernel: Callable, x: Tensor, y: Tensor, backend: str = 'auto'
) -> Tuple[Tensor, ...]:
    """Evaluate a kernel over all pairs of classes.

    Args:
        kernel (Callable): one of ``PAIR_KERNELS`` or :func:`sign_sums`.
        x (Tensor): Student logits, shape (N, C), with N > 0 and C > 1.
        y (Tensor): Teacher logits, same shape, dtype and device.
        backend (str): ``'compiled'``, ``'eager'``, or ``'auto'``: compiled
            where there is much to do and a compiler; if compilation fails,
            eager from then on, with one warning that says why.

    Returns:
        tuple[Tensor, ...]: The sums over j, each of shape (N, C).
    """
    if is_compiling():  # the model around us is; it fuses the plain formula
        return kernel(x[:, :, None], y[:, :, None], x[:, None], y[:, None])
    device = x.device.type
    if backend == 'auto':
        few = x.shape[0] * x.shape[1] ** 2 < MIN_PAIRS_TO_COMPILE
        backend = 'eager' if few or device in _failures else 'auto'
    if backend == 'eager':
        return eager(kernel, x, y)
    try:
        return compiled(kernel, x, y)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        if backend == 'compiled':
            raise
        reason = str(error).strip() or type(error).__name__
        _failures[device] = reason
        warnings.warn(
            f'torch.compile does not work for {device} tensors here, so the '
            'ranking loss runs without it: the same values, several times '
            'slower. A C++ compiler (CPU) or Triton (CUDA) is what it needs; '
            "backend='eager' silences this warning. The reason given: "
            + reason[:500],
            RuntimeWarning,
        )
        return eager(kernel, x, y)


def is_compiling() -> bool:
    """Whether torch.compile is tracing the caller."""
    try:
        return torch.compiler.is_compiling()
    except AttributeError:  # before torch 2.3
        return False
