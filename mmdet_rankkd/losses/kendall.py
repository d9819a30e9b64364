"""Kendall's tau: the ranking loss of the paper and the exact coefficient."""

import math
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from mmdet_rankkd.registry import MODELS

from .base import LogitLoss, prepare_pair, reduce_rows

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
        logits (Tensor): Shape (N, C).
        eps (float): Added to the standard deviation.
        unbiased (bool): Divide the variance by C - 1 rather than C.
        min_std (float): Floor of the standard deviation.
    """
    centred = logits - logits.mean(1, keepdim=True)
    count = max(logits.shape[1] - int(unbiased), 1)
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance.clamp(min=min_std**2).sqrt() + eps)


def check_settings(
    k: float,
    form: int,
    eps: float,
    min_std: float,
    channels: str,
    percent: float,
) -> None:
    """Raise ValueError for settings outside the documented ranges."""
    if not k > 0:
        raise ValueError(f'k must be positive, got {k}')
    if form not in (1, 2, 3):
        raise ValueError(f'form must be 1, 2 or 3, got {form}')
    if eps < 0 or not min_std > 0:
        raise ValueError(
            'eps must be at least 0 and min_std positive, got '
            f'{eps} and {min_std}'
        )
    if channels not in CHANNELS:
        raise ValueError(
            f'channels must be one of {CHANNELS}, got {channels!r}'
        )
    if not 0 < percent <= 100:
        raise ValueError(f'percent must be in (0, 100], got {percent}')


def select_channels(
    student: Tensor, teacher: Tensor, channels: str, percent: float
) -> Tuple[Tensor, Tensor]:
    """Keep the classes that the teacher scores highest or lowest."""
    count = min(
        max(2, math.ceil(teacher.shape[1] * percent / 100)), teacher.shape[1]
    )
    index = teacher.topk(count, dim=1, largest=channels == 'top').indices
    return student.gather(1, index), teacher.gather(1, index)


def soft_tau(student: Tensor, teacher: Tensor, k: float, form: int) -> Tensor:
    """Differentiable tau of each row, shape (N,): Eq. 6 and 14 to 16."""
    classes = student.shape[1]
    student = student[:, :, None] - student[:, None, :]
    teacher = teacher[:, :, None] - teacher[:, None, :]
    if form == 1:
        concordance = torch.tanh(k * teacher) * torch.tanh(k * student)
    elif form == 2:
        concordance = torch.tanh(k * teacher * student)
    else:
        concordance = torch.sign(teacher) * torch.tanh(k * student)
    # Each pair of classes is there twice and the diagonal is zero.
    return concordance.sum((1, 2)) / (classes * (classes - 1))


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
    """
    check_settings(k, form, eps, min_std, channels, percent)
    student, teacher = prepare_pair(student, teacher)
    if student.shape[1] < 2:
        rows = student.sum(1) * 0
        return reduce_rows(rows, weight, avg_factor, reduction)
    if normalize:
        student = standardize(student, eps, unbiased, min_std)
        teacher = standardize(teacher, eps, unbiased, min_std)
    if channels != 'all':
        student, teacher = select_channels(student, teacher, channels, percent)
    rows = -soft_tau(student, teacher, k, form)
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
        classes alike. NaN for C = 1 and for rows with a NaN. No gradient.

    Raises:
        ValueError: If shapes differ.
    """
    student, teacher = prepare_pair(student, teacher)
    rows, classes = student.shape
    if classes < 2:
        return student.new_full((rows,), math.nan, dtype=torch.float32)
    # In chunks of rows: at most 16 million pairs at a time.
    chunk = max(1, 2**24 // classes**2)
    taus = [
        (
            torch.sign(s[:, :, None] - s[:, None, :])
            * torch.sign(t[:, :, None] - t[:, None, :])
        ).sum((1, 2), dtype=torch.float32)
        for s, t in zip(student.split(chunk), teacher.split(chunk))
    ]
    return torch.cat(taus) / (classes * (classes - 1))


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
        loss_weight (float): gamma of the paper's Eq. 8.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'``.
        loss_name (str, optional): Name in the log, ``loss_rank`` by default.
    """

    loss_name = 'loss_rank'

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
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        loss_name: Optional[str] = None,
    ) -> None:
        super().__init__(loss_weight, reduction, loss_name)
        check_settings(k, form, eps, min_std, channels, percent)
        self.settings: Dict[str, Any] = dict(
            k=k,
            form=form,
            normalize=normalize,
            eps=eps,
            unbiased=unbiased,
            min_std=min_std,
            channels=channels,
            percent=percent,
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
