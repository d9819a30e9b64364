"""Sums over all pairs of classes, without a tensor over all pairs.

The computation that the ranking loss and Kendall's tau share, run in blocks
that fit the cache (eager), or fused by Inductor into one loop that stores
nothing per pair (compiled).
"""

import math
import warnings
from dataclasses import dataclass
from typing import Callable, NamedTuple, Tuple

import torch
from torch import Tensor

from .compiler import (
    Tensors,
    check_lanes,
    compiled,
    failures,
    is_compiling,
    to_lanes,
)

BACKENDS = ('auto', 'compiled', 'eager')
#: Takes student and teacher scores of classes i, and both of classes j, to
#: sums over j.
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor], Tensors]

# Below so many pairs of classes, `auto` does not compile.
MIN_PAIRS_TO_COMPILE = 2**19


def tanh(x: Tensor) -> Tuple[Tensor, Tensor]:
    """``tanh(x)`` and its derivative, which keeps its relative precision."""
    decay = torch.exp2((-2 / math.log(2)) * x.abs())
    inverse = 1 / (1 + decay)
    value = torch.copysign((1 - decay) * inverse, x)
    return value, 4 * decay * inverse * inverse


@dataclass(frozen=True)
class PairKernel:
    """Concordance of pairs and its derivative, as a :data:`Kernel`.

    Attributes:
        form (int): 1, 2 or 3, of the ranking loss.
        exponentials (bool): What goes through tanh comes as ``exp(2x)``, so
            that no exponential is needed per pair; not for form 2.
        one_division (bool): Take both tanh of form 1 with one division; for
            exponentials whose products of four stay in range.
    """

    form: int
    exponentials: bool = False
    one_division: bool = False

    def __call__(
        self, xi: Tensor, yi: Tensor, xj: Tensor, yj: Tensor
    ) -> Tuple[Tensor, Tensor]:
        """Sum concordance and its derivative by ``x_i`` over j, dimension 2.

        With :math:`s = tanh(x_i - x_j)` and :math:`t = tanh(y_i - y_j)`,
        :math:`st` and :math:`(1 - s^2) t` (form 1), the same with
        :math:`t = sgn(y_i - y_j)` (form 3), or :math:`u` and
        :math:`(1 - u^2)(y_i - y_j)` with
        :math:`u = tanh((x_i - x_j)(y_i - y_j))` (form 2).

        Args:
            xi (Tensor): Student scores, broadcastable to (N, C_i, C_j, ...).
            yi (Tensor): Teacher scores, likewise.
            xj (Tensor): Student scores again.
            yj (Tensor): Teacher scores again.
        """
        if self.form == 2:
            u, slope = tanh((xi - xj) * (yi - yj))
            return u.sum(2), (slope * (yi - yj)).sum(2)
        sign = self.form == 3
        if not self.exponentials:
            s, slope = tanh(xi - xj)
            t = torch.sign(yi - yj) if sign else tanh(yi - yj)[0]
            return (s * t).sum(2), (slope * t).sum(2)
        # tanh(a - b) = (A - B) / (A + B), its derivative 4AB / (A + B)^2
        x, y = xi + xj, yi + yj
        if self.one_division:
            inverse = torch.reciprocal(x * y)
            part = (yi - yj) * inverse
            slope_t = (xi * xj) * (inverse * y) * part
            return ((xi - xj) * part).sum(2), 4 * slope_t.sum(2)
        over_x = torch.reciprocal(x)
        t = torch.sign(yi - yj) if sign else (yi - yj) / y
        slope_t = (xi * over_x) * (xj * over_x) * t
        return ((xi - xj) * over_x * t).sum(2), 4 * slope_t.sum(2)


def pair_kernel(form: int, largest: float, limit: float) -> PairKernel:
    """Make the kernel for scores of at most ``largest`` in absolute value.

    Args:
        form (int): 1, 2 or 3.
        largest (float): Bound of the scores, infinity if there is none.
        limit (float): Where ``exp`` leaves the range of the dtype.
    """
    return PairKernel(
        form,
        exponentials=form != 2 and 2 * largest < limit - 2,
        one_division=form == 1 and 4 * largest < limit - 2,
    )


def sign_sums(xi: Tensor, yi: Tensor, xj: Tensor, yj: Tensor) -> Tuple[Tensor]:
    """Sum :math:`sgn(x_i - x_j) sgn(y_i - y_j)` over j, dimension 2."""
    return ((torch.sign(xi - xj) * torch.sign(yi - yj)).sum(2),)


def in_blocks(kernel: Kernel, x: Tensor, y: Tensor) -> Tensors:
    """Evaluate the kernel on blocks of rows, or of parts of a row.

    Temporaries are of the size of a block: what fits a core's cache on a
    CPU, what fills a GPU elsewhere.
    """
    rows, classes = x.shape
    size = 2**17 if x.device.type == 'cpu' else 2**24
    together = max(1, size // classes**2)
    part = max(1, min(classes, size // classes))
    results = []
    for i in range(0, rows, together):
        a, b = x[i : i + together], y[i : i + together]
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


def whole(kernel: Kernel, x: Tensor, y: Tensor) -> Tensors:
    """Evaluate the kernel at once; for the compiler, which stores no pair."""
    return kernel(x[:, :, None], y[:, :, None], x[:, None], y[:, None])


def _on_lanes(kernel: Kernel, x: Tensor, y: Tensor) -> Tensors:
    check_lanes(x, y)
    return whole(kernel, x, y)


def _swap(logits: Tensor) -> Tensor:
    return logits.transpose(1, 2)


def _same(logits: Tensor) -> Tensor:
    return logits


def _plain(
    function: Callable[..., Tensors], *settings: object
) -> Callable[..., Tensors]:
    return lambda *tensors: function(*tensors, *settings)


class Run(NamedTuple):
    """How a computation on logits is to be run.

    A computation is a few stages, each a function of logits (N, C), or
    (B, LANES, C) where it is compiled. For a sum over pairs, logits are
    swapped to (B, C, LANES) in memory in a stage before, so that classes are
    in dimension 1 both ways, and its results are swapped back.

    Attributes:
        stage (Callable): Makes a stage ready to be called on tensors, given
            its function and the settings that this takes after them.
        pairs (Callable): Evaluates a kernel on student and teacher scores.
        swap (Callable): Swaps the last two of three dimensions.
    """

    stage: Callable[..., Callable[..., Tensors]] = _plain
    pairs: Callable[[Kernel, Tensor, Tensor], Tensors] = in_blocks
    swap: Callable[[Tensor], Tensor] = _same


EAGER = Run()
INLINE = Run(pairs=whole)
COMPILED = Run(compiled, _on_lanes, _swap)


def check_backend(backend: str) -> None:
    """Raise ValueError for the name of no backend."""
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {BACKENDS}, got {backend!r}')


def run(
    compute: Callable[[Tensor, Tensor, Run], Tensors],
    student: Tensor,
    teacher: Tensor,
    backend: str = 'auto',
) -> Tensors:
    """Run a computation on logits.

    Args:
        compute (Callable): Takes student and teacher logits, with the classes
            last, and a :class:`Run`; returns tensors of those rows.
        student (Tensor): Logits, shape (N, C), with N > 0.
        teacher (Tensor): Logits, same shape, dtype and device.
        backend (str): ``'compiled'``, ``'eager'``, or ``'auto'``: compiled
            where there is much to do and a compiler to do it; if compilation
            fails, eager from then on, with one warning that says why.

    Returns:
        tuple[Tensor, ...]: What ``compute`` returned.
    """
    if is_compiling():  # the caller is part of a model that is compiled
        return compute(student, teacher, INLINE)
    device = student.device.type
    if backend == 'auto':
        few = student.numel() * student.shape[1] < MIN_PAIRS_TO_COMPILE
        if few or device in failures:
            backend = 'eager'
    if backend == 'eager':
        return compute(student, teacher, EAGER)
    try:
        with torch.autocast(device, enabled=False):
            lanes = compute(to_lanes(student), to_lanes(teacher), COMPILED)
        return tuple(z.flatten(0, 1)[: len(student)] for z in lanes)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        if backend == 'compiled':
            raise
        failures[device] = str(error).strip() or type(error).__name__
        warnings.warn(
            f'torch.compile does not work for {device} tensors here, so the '
            'ranking loss does without it: the same values, several times '
            'slower. It needs a C++ compiler (CPU) or Triton (CUDA); '
            "backend='eager' silences this warning. The reason given: "
            + failures[device][:500],
            RuntimeWarning,
        )
        return compute(student, teacher, EAGER)
