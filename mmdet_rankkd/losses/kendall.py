"""Kendall's tau: the ranking loss of the paper and the exact coefficient."""

import logging
import math
from functools import partial
from typing import Any, Callable, Dict, Optional, Tuple

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmdet_rankkd.registry import MODELS

from .base import (
    LogitLoss,
    prepare_pair,
    reduce_rows,
    without_autocast,
)
from .pairwise import (
    BACKENDS,
    Run,
    is_compiling,
    pair_kernel,
    run,
    sign_sums,
)

CHANNELS = ('all', 'top', 'min')


def standardize(
    logits: Tensor,
    eps: float = 1e-7,
    unbiased: bool = True,
    min_std: float = 1e-3,
) -> Tensor:
    """Zero mean and unit standard deviation over the classes (Algorithm 1).

    ``(z - mean) / (max(std, min_std) + eps)``. The floor is ours: without it
    the gradient through a row of equal logits (a zero-initialised head) is of
    order 1 / eps. Rows with a spread above the floor are not touched by it.

    Args:
        logits (Tensor): Shape (..., C).
        eps (float): Added to the standard deviation.
        unbiased (bool): Divide the variance by C - 1 rather than C.
        min_std (float): Floor of the standard deviation, positive.

    Raises:
        ValueError: If ``min_std`` is not positive.
    """
    check_min_std(min_std)
    centred = logits - logits.mean(-1, keepdim=True)
    return centred / (_spread(centred, unbiased, min_std)[0] + eps)


def standardize_pair(
    student: Tensor, teacher: Tensor, min_std: float
) -> Tuple[Tensor, Tensor]:
    """Both logits by :func:`standardize`, with its other defaults."""
    return (
        standardize(student, min_std=min_std),
        standardize(teacher, min_std=min_std),
    )


def check_min_std(min_std: float) -> None:
    """Raise ValueError unless the floor is positive."""
    if not min_std > 0:
        raise ValueError(f'min_std must be positive, got {min_std}')


def _spread(
    centred: Tensor, unbiased: bool, min_std: float
) -> Tuple[Tensor, Tensor, int]:
    """Standard deviation, whether it is above the floor, and its divisor."""
    count = max(centred.shape[-1] - int(unbiased), 1)
    variance = centred.square().sum(-1, keepdim=True) / count
    std = variance.clamp(min=min_std**2).sqrt()
    return std, variance > min_std**2, count


def check_settings(
    k: float,
    form: int,
    eps: float,
    min_std: float,
    channels: str,
    percent: float,
    backend: str = 'auto',
) -> None:
    """Raise ValueError for settings outside the documented ranges."""
    if not k > 0:
        raise ValueError(f'k must be positive, got {k}')
    if form not in (1, 2, 3):
        raise ValueError(f'form must be 1, 2 or 3, got {form}')
    if not eps >= 0:
        raise ValueError(f'eps must be at least 0, got {eps}')
    check_min_std(min_std)
    if channels not in CHANNELS:
        raise ValueError(
            f'channels must be one of {CHANNELS}, got {channels!r}'
        )
    if not 0 < percent <= 100:
        raise ValueError(f'percent must be in (0, 100], got {percent}')
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {BACKENDS}, got {backend!r}')


def top_channels(teacher: Tensor, channels: str, percent: float) -> Tensor:
    """Index, shape (..., c), of the teacher's highest or lowest classes."""
    classes = teacher.shape[-1]
    count = min(max(2, math.ceil(classes * percent / 100)), classes)
    return teacher.topk(count, dim=-1, largest=channels == 'top').indices


def soft_tau_and_gradient(
    student: Tensor,
    teacher: Tensor,
    run: Run,
    k: float,
    form: int,
    normalize: bool,
    eps: float,
    unbiased: bool,
    min_std: float,
    channels: str,
    percent: float,
) -> Tuple[Tensor, Tensor]:
    """Differentiable tau of each row and its gradient, in closed form.

    With s and t the scores that enter the sum of Eq. 6,

    ``dtau / ds_i = 2k / (C(C-1)) sum_j (1 - tanh^2(k s_ij)) tanh(k t_ij)``

    Args:
        student (Tensor): Logits, shape (..., C).
        teacher (Tensor): Logits, same shape.
        run (Run): How to run it.
        k (float): As the rest an argument of :func:`kendall_rank_loss`.
        form (int): Likewise.
        normalize (bool): Likewise.
        eps (float): Likewise.
        unbiased (bool): Likewise.
        min_std (float): Likewise.
        channels (str): Likewise.
        percent (float): Likewise.

    Returns:
        tuple[Tensor, Tensor]: tau, without the dimension of the classes, and
        its gradient by the student's logits.
    """
    # Standardised logits are at most sqrt(C) in size, so that k and C alone
    # tell whether the exponentials of the scores stay in range.
    kernel = pair_kernel(
        form,
        k * math.sqrt(student.shape[-1]) if normalize else math.inf,
        math.log(torch.finfo(student.dtype).max),
    )
    exponentials = kernel.keywords['exponentials']
    norm = (normalize, eps, unbiased, min_std)
    # As a tensor, so that the compiler takes it for a variable.
    steepness = torch.full((), k, dtype=student.dtype, device=student.device)
    index = None
    if channels != 'all':
        index = top_channels(teacher, channels, percent)
    scores = run.stage(_scores, form, exponentials, run.swap, *norm)(
        student, teacher, index, steepness
    )
    return run.stage(_tau_and_gradient, kernel, run, *norm)(
        student, *scores, index, steepness
    )


def _scores(
    student: Tensor,
    teacher: Tensor,
    index: Optional[Tensor],
    k: Tensor,
    form: int,
    exponentials: bool,
    swap: Callable[[Tensor], Tensor],
    normalize: bool,
    *norm: Any,
) -> Tuple[Tensor, Tensor]:
    """What the kernels take: scores, scaled by k, or exp of twice them."""
    x, y = student, teacher
    if normalize:
        x, y = standardize(x, *norm), standardize(y, *norm)
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
    kernel: partial,
    run: Run,
    normalize: bool,
    eps: float,
    unbiased: bool,
    min_std: float,
) -> Tuple[Tensor, Tensor]:
    concordance, gradient = run.pairs(kernel, x, y)
    pairs = x.shape[1] * (x.shape[1] - 1)
    tau = concordance.sum(1) / pairs
    # Each pair of classes is there twice: (i, j) and (j, i).
    factor = 2 if kernel.keywords['form'] == 2 else 2 * k
    gradient = run.swap(gradient) * (factor / pairs)
    if index is not None:
        gradient = torch.zeros_like(student).scatter(-1, index, gradient)
    if not normalize:
        return tau, gradient.contiguous()
    # The gradient by the scores sums to zero over the classes, so that the
    # mean has no part in it.
    centred = student - student.mean(-1, keepdim=True)
    std, free, count = _spread(centred, unbiased, min_std)
    along = (gradient * centred).sum(-1, keepdim=True)
    along = along * free / ((std + eps) * std * count)
    gradient = (gradient - along * centred) / (std + eps)
    return tau, gradient.contiguous()


class _SoftTau(torch.autograd.Function):
    """:func:`soft_tau_and_gradient` under autograd; keeps the gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        backend: str,
        settings: Dict[str, Any],
    ) -> Tensor:
        compute = partial(soft_tau_and_gradient, **settings)
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
    def backward(ctx: Any, grad_tau: Tensor) -> Tuple[Any, ...]:
        if torch.is_grad_enabled() and not is_compiling():
            raise RuntimeError(
                'kendall_rank_loss has no second derivative; take its '
                'gradient without create_graph=True'
            )
        (gradient,) = ctx.saved_tensors
        return grad_tau[:, None] * gradient, None, None, None


@without_autocast
def kendall_rank_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    k: float = 1.0,
    form: int = 1,
    normalize: bool = True,
    eps: float = 1e-7,
    unbiased: bool = True,
    min_std: float = 1e-3,
    channels: str = 'all',
    percent: float = 100.0,
    backend: str = 'auto',
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Ranking loss on Kendall's tau (Eq. 6 and 7 of the paper).

    For each row, with :math:`\hat z` the logits standardised over classes,

    .. math::
        L_{RK} = -\frac{2}{C(C-1)} \sum_{i} \sum_{j<i}
            \tanh(k(\hat z^t_i - \hat z^t_j))
            \tanh(k(\hat z^s_i - \hat z^s_j))

    Forms 2 and 3 (Eq. 15 and 16) have
    :math:`\tanh(k \Delta\hat z^t \Delta\hat z^s)` and
    :math:`\mathrm{sgn}(\Delta\hat z^t) \tanh(k \Delta\hat z^s)` in the sum.

    Deviations from the paper: it prints Eq. 14 to 16 without the minus sign
    and without k (at k = 1 they agree with ours); its Eq. 10 and 37 give half
    of the true gradient; the floor ``min_std`` is ours.

    Args:
        student (Tensor): Logits, shape (N, C), any strides.
        teacher (Tensor): Logits, shape (N, C); detached.
        k (float): Steepness, positive; 1 in the paper's main results.
        form (int): 1, 2 or 3.
        normalize (bool): Standardise both logits over the classes.
        eps (float): Added to the standard deviation.
        unbiased (bool): Standard deviation with C - 1 rather than C.
        min_std (float): Floor of the standard deviation, which bounds the
            gradient of (nearly) constant rows; see :func:`standardize`.
        channels (str): ``'all'``, or only the ``'top'`` or ``'min'`` classes
            by teacher logit (Fig. 4), chosen after the standardisation.
        percent (float): How many of the classes then count, in (0, 100];
            rounded up, at least two.
        backend (str): ``'compiled'`` fuses the sum over pairs of classes by
            ``torch.compile``, ``'eager'`` takes it in blocks, ``'auto'``
            compiles where it pays and is possible. The results are equal.
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float, optional): Divisor of the mean in place of N.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'`` over rows.

    Returns:
        Tensor: In [-1, 1]. With normalisation and k = 1 identical
        Gaussian-like logits give about -0.52, not -1. Computed in float32 for
        half-precision input, float64 stays. Ties contribute zero. Zero,
        attached to the graph, for N = 0 and for C = 1. Non-finite logits give
        NaN, so that a gradient scaler can skip the step.

    Raises:
        ValueError: If shapes differ (both are named) or a setting is out of
            its range.
        TypeError: If logits are not floating point.
        RuntimeError: If the gradient is taken with ``create_graph=True``.
    """
    check_settings(k, form, eps, min_std, channels, percent, backend)
    student, teacher = prepare_pair(student, teacher)
    if student.shape[1] < 2 or len(student) == 0:
        rows = student.sum(1) * 0
        return reduce_rows(rows, weight, avg_factor, reduction)
    settings = dict(
        k=k,
        form=form,
        normalize=normalize,
        eps=eps,
        unbiased=unbiased,
        min_std=min_std,
        channels=channels,
        percent=percent,
    )
    rows = -_SoftTau.apply(student, teacher, backend, settings)
    return reduce_rows(rows, weight, avg_factor, reduction)


@torch.no_grad()
def kendall_tau(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Kendall's tau of each row, exact (Eq. 4 and 5 of the paper).

    .. math::
        \tau = \frac{2}{C(C-1)} \sum_{i} \sum_{j<i}
            \mathrm{sgn}(z^t_i - z^t_j)\, \mathrm{sgn}(z^s_i - z^s_j)

    This is tau-a: a tie counts zero and is not corrected for. On rows without
    ties it equals ``scipy.stats.kendalltau``.

    Args:
        student (Tensor): Logits, shape (N, C).
        teacher (Tensor): Logits, shape (N, C).

    Returns:
        Tensor: float32, shape (N,), in [-1, 1]; 1 where both order the
        classes alike. NaN for C = 1; a NaN logit ties with all others. No
        gradient.

    Raises:
        ValueError: If shapes differ.
    """
    student, teacher = prepare_pair(student, teacher)
    rows, classes = student.shape
    if classes < 2:
        return student.new_full((rows,), math.nan, dtype=torch.float32)
    if rows == 0:
        return student.new_zeros(0, dtype=torch.float32)
    (tau,) = run(_tau, student, teacher)
    return tau.float()


def _tau(student: Tensor, teacher: Tensor, run: Run) -> Tuple[Tensor]:
    x, y = (run.swap(z).contiguous() for z in (student, teacher))
    return run.stage(_exact_tau, run)(x, y)


def _exact_tau(x: Tensor, y: Tensor, run: Run) -> Tuple[Tensor]:
    (concordance,) = run.pairs(sign_sums, x, y)
    return (concordance.sum(1) / (x.shape[1] * (x.shape[1] - 1)),)


@MODELS.register_module()
class KendallRankLoss(LogitLoss):
    """Registered form of :func:`kendall_rank_loss`.

    Args:
        k (float): Steepness, positive.
        form (int): 1, 2 or 3.
        normalize (bool): Standardise both logits over the classes.
        eps (float): Added to the standard deviation.
        unbiased (bool): Standard deviation with C - 1 rather than C.
        min_std (float): Floor of the standard deviation.
        channels (str): ``'all'``, ``'top'`` or ``'min'``.
        percent (float): Share of the classes that counts, in (0, 100].
        backend (str): ``'auto'``, ``'compiled'`` or ``'eager'``.
        **kwargs (Any): ``loss_weight`` (gamma of the paper's Eq. 8),
            ``reduction``, ``loss_name`` (``loss_rank`` by default) and
            ``schedule`` of :class:`LogitLoss`.
    """

    loss_name = 'loss_rank'
    sigmoid = None

    def __init__(
        self,
        k: float = 1.0,
        form: int = 1,
        normalize: bool = True,
        eps: float = 1e-7,
        unbiased: bool = True,
        min_std: float = 1e-3,
        channels: str = 'all',
        percent: float = 100.0,
        backend: str = 'auto',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_settings(k, form, eps, min_std, channels, percent, backend)
        self.settings: Dict[str, Any] = dict(
            k=k,
            form=form,
            normalize=normalize,
            eps=eps,
            unbiased=unbiased,
            min_std=min_std,
            channels=channels,
            percent=percent,
            backend=backend,
        )

    def check(self, columns: Optional[int], sigmoid: Optional[bool]) -> None:
        """Warn of logits that have next to no order to learn."""
        if columns is None or columns > 2:
            return
        text = (
            'have one column, which has no order: the ranking loss is zero'
            if columns < 2
            else 'have two columns, one pair to order: the ranking loss tells '
            'the student little more than which of them is higher'
        )
        print_log(
            f'the logits that are compared {text}. It is for several '
            'classes; for a one-class detector take KLDivLoss, '
            'BinaryKLDivLoss or a feature loss.',
            'current',
            logging.WARNING,
        )

    def rows(
        self, student: Tensor, teacher: Tensor, labels: Optional[Tensor]
    ) -> Tensor:
        """See :func:`kendall_rank_loss`."""
        return kendall_rank_loss(
            student, teacher, reduction='none', **self.settings
        )

    def extra_repr(self) -> str:
        """Settings, for ``print(model)``."""
        return ', '.join(f'{k}={v!r}' for k, v in self.settings.items())
