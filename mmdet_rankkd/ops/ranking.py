"""The differentiable and the exact Kendall's tau of rows of logits."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Callable, NamedTuple, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction, FunctionCtx

from .compiler import is_compiling
from .pairwise import PairKernel, Run, pair_kernel, run, sign_sums
from .standardize import check_min_std, spread, standardize

CHANNELS = ('all', 'top', 'min')


class Scale(NamedTuple):
    """Arguments of :func:`standardize`, constants of the compiled code."""

    eps: float
    unbiased: bool
    min_std: float


@dataclass(frozen=True)
class RankSettings:
    """Settings of the ranking loss, checked.

    Attributes:
        k (float): Steepness, positive; 1 in the paper's main results.
        form (int): 1, 2 or 3: Eq. 6, 15 or 16 of the paper.
        normalize (bool): Standardise both logits over the classes.
        eps (float): Added to the standard deviation, at least 0.
        unbiased (bool): Standard deviation with C - 1 rather than C.
        min_std (float): Floor of the standard deviation, positive, which
            bounds the gradient of (nearly) constant rows; see
            :func:`standardize`.
        channels (str): ``'all'``, or only the ``'top'`` or ``'min'`` classes
            by teacher logit (Fig. 4), chosen after the standardisation.
        percent (float): How many of the classes then count, in (0, 100];
            rounded up, at least two.

    Raises:
        ValueError: If one of them is out of its range.
    """

    k: float = 1.0
    form: int = 1
    normalize: bool = True
    eps: float = 1e-7
    unbiased: bool = True
    min_std: float = 1e-3
    channels: str = 'all'
    percent: float = 100.0

    def __post_init__(self) -> None:
        if not self.k > 0:
            raise ValueError(f'k must be positive, got {self.k}')
        if self.form not in (1, 2, 3):
            raise ValueError(f'form must be 1, 2 or 3, got {self.form}')
        if not self.eps >= 0:
            raise ValueError(f'eps must be at least 0, got {self.eps}')
        check_min_std(self.min_std)
        if self.channels not in CHANNELS:
            raise ValueError(
                f'channels must be one of {CHANNELS}, got {self.channels!r}'
            )
        if not 0 < self.percent <= 100:
            raise ValueError(
                f'percent must be in (0, 100], got {self.percent}'
            )

    @property
    def scale(self) -> Optional[Scale]:
        """How logits are standardised, or None if they are not."""
        if not self.normalize:
            return None
        return Scale(self.eps, self.unbiased, self.min_std)


def soft_tau(
    student: Tensor, teacher: Tensor, settings: RankSettings, backend: str
) -> Tensor:
    """Differentiable tau of each row, shape (N,).

    Its gradient is computed with it, and is all that is kept.

    Args:
        student (Tensor): Logits, shape (N, C), N > 0 and C > 1.
        teacher (Tensor): Logits, same shape and dtype; without a gradient.
        settings (RankSettings): Those of the loss.
        backend (str): See :func:`mmdet_rankkd.ops.pairwise.run`.

    Raises:
        RuntimeError: If the gradient is taken with ``create_graph=True``.
    """
    return _SoftTau.apply(student, teacher, settings, backend)


class _SoftTau(torch.autograd.Function):
    """:func:`soft_tau_and_gradient` under autograd."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        student: Tensor,
        teacher: Tensor,
        settings: RankSettings,
        backend: str,
    ) -> Tensor:
        compute = partial(soft_tau_and_gradient, settings=settings)
        piece = 2**18 if student.device.type == 'cpu' else 2**22
        pieces = 1 if is_compiling() else -(-student.numel() // piece)
        if pieces <= 1:
            tau, gradient = run(compute, student, teacher, backend)
        else:
            gradient = torch.empty(
                student.shape, dtype=student.dtype, device=student.device
            )
            taus = []
            for s, t, out in zip(
                *(z.tensor_split(pieces) for z in (student, teacher, gradient))
            ):
                tau, part = run(compute, s, t, backend)
                taus.append(tau)
                out.copy_(part)
            tau = torch.cat(taus)
        ctx.save_for_backward(gradient)
        return tau

    @staticmethod
    def backward(
        ctx: BackwardCFunction, grad_tau: Tensor
    ) -> Tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled() and not is_compiling():
            raise RuntimeError(
                'kendall_rank_loss has no second derivative; take its '
                'gradient without create_graph=True'
            )
        (gradient,) = ctx.saved_tensors
        return grad_tau[:, None] * gradient, None, None, None


def soft_tau_and_gradient(
    student: Tensor, teacher: Tensor, how: Run, settings: RankSettings
) -> Tuple[Tensor, ...]:
    """Differentiable tau of each row and its gradient, in closed form.

    With s and t the scores that enter the sum of Eq. 6,

    ``dtau / ds_i = 2k / (C(C-1)) sum_j (1 - tanh^2(k s_ij)) tanh(k t_ij)``

    Args:
        student (Tensor): Logits, shape (..., C).
        teacher (Tensor): Logits, same shape.
        how (Run): How to run it.
        settings (RankSettings): Those of the loss.

    Returns:
        tuple[Tensor, Tensor]: tau, without the dimension of the classes, and
        its gradient by the student's logits.
    """
    # Standardised logits are at most sqrt(C) in size, so that k and C alone
    # tell whether the exponentials of the scores stay in range.
    k, scale = settings.k, settings.scale
    kernel = pair_kernel(
        settings.form,
        math.inf if scale is None else k * math.sqrt(student.shape[-1]),
        math.log(torch.finfo(student.dtype).max),
    )
    # As a tensor, so that the compiler takes it for a variable.
    steepness = torch.full((), k, dtype=student.dtype, device=student.device)
    index = None
    if settings.channels != 'all':
        index = top_channels(teacher, settings.channels, settings.percent)
    form, exponentials = kernel.form, kernel.exponentials
    scores = how.stage(_scores, form, exponentials, scale, how.swap)(
        student, teacher, index, steepness
    )
    return how.stage(_tau_and_gradient, kernel, scale, how)(
        student, *scores, index, steepness
    )


def top_channels(teacher: Tensor, channels: str, percent: float) -> Tensor:
    """Index, shape (..., c), of the teacher's highest or lowest classes."""
    classes = teacher.shape[-1]
    count = min(max(2, math.ceil(classes * percent / 100)), classes)
    return teacher.topk(count, dim=-1, largest=channels == 'top').indices


def _scores(
    student: Tensor,
    teacher: Tensor,
    index: Optional[Tensor],
    k: Tensor,
    form: int,
    exponentials: bool,
    scale: Optional[Scale],
    swap: Callable[[Tensor], Tensor],
) -> Tuple[Tensor, Tensor]:
    """What the kernel takes: scores, scaled by k, or exp of twice them."""
    x, y = student, teacher
    if scale is not None:
        x, y = standardize(x, *scale), standardize(y, *scale)
    if index is not None:
        x, y = x.gather(-1, index), y.gather(-1, index)
    # The product of form 2 has k once, a product of two tanh has it in both.
    x, y = (x if form == 2 else k * x), k * y
    if exponentials:
        x, y = (2 * x).exp(), ((2 * y).exp() if form == 1 else y)
    return swap(x).contiguous(), swap(y).contiguous()


def _tau_and_gradient(
    student: Tensor,
    x: Tensor,
    y: Tensor,
    index: Optional[Tensor],
    k: Tensor,
    kernel: PairKernel,
    scale: Optional[Scale],
    how: Run,
) -> Tuple[Tensor, Tensor]:
    concordance, gradient = how.pairs(kernel, x, y)
    pairs = x.shape[1] * (x.shape[1] - 1)
    tau = concordance.sum(1) / pairs
    # Each pair of classes is there twice: (i, j) and (j, i).
    factor = 2 if kernel.form == 2 else 2 * k
    gradient = how.swap(gradient) * (factor / pairs)
    if index is not None:
        gradient = torch.zeros_like(student).scatter(-1, index, gradient)
    if scale is None:
        return tau, gradient.contiguous()
    # The gradient by the scores sums to zero over the classes, so that the
    # mean has no part in it.
    centred = student - student.mean(-1, keepdim=True)
    std, free, count = spread(centred, scale.unbiased, scale.min_std)
    along = (gradient * centred).sum(-1, keepdim=True)
    along = along * free / ((std + scale.eps) * std * count)
    gradient = (gradient - along * centred) / (std + scale.eps)
    return tau, gradient.contiguous()


def exact_tau(student: Tensor, teacher: Tensor) -> Tensor:
    """Kendall's tau-a of each row, shape (N,).

    Args:
        student (Tensor): Logits, shape (N, C), N > 0 and C > 1.
        teacher (Tensor): Logits, same shape and dtype.
    """
    (tau,) = run(_tau, student, teacher)
    return tau


def _tau(student: Tensor, teacher: Tensor, how: Run) -> Tuple[Tensor, ...]:
    x, y = (how.swap(z).contiguous() for z in (student, teacher))
    return how.stage(_exact_tau, how)(x, y)


def _exact_tau(x: Tensor, y: Tensor, how: Run) -> Tuple[Tensor]:
    (concordance,) = how.pairs(sign_sums, x, y)
    return (concordance.sum(1) / (x.shape[1] * (x.shape[1] - 1)),)
