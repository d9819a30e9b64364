"""Kendall's tau: the ranking loss of the paper and the exact coefficient."""

import logging
import math
from dataclasses import asdict
from typing import Any, Optional

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmdet_rankkd.ops import RankSettings, check_backend, exact_tau, soft_tau
from mmdet_rankkd.registry import MODELS

from ..base import without_autocast
from .base import LogitLoss, prepare_pair, reduce_rows


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
    and without k (at k = 1 they agree with these); its Eq. 10 and 37 give half
    of the true gradient; it has no floor ``min_std``.

    Args:
        student (Tensor): Logits, shape (N, C), any strides.
        teacher (Tensor): Logits, shape (N, C); detached.
        k (float): Steepness. It and the next seven are those of
            :class:`RankSettings`, which describes them.
        form (int): Form of the loss.
        normalize (bool): Whether logits are standardised.
        eps (float): Number added to the standard deviation.
        unbiased (bool): Whether the standard deviation has C - 1.
        min_std (float): Floor of the standard deviation.
        channels (str): Which classes count.
        percent (float): How many of them.
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
    settings = RankSettings(
        k, form, normalize, eps, unbiased, min_std, channels, percent
    )
    rows = rank_rows(student, teacher, settings, backend)
    return reduce_rows(rows, weight, avg_factor, reduction)


@without_autocast
def rank_rows(
    student: Tensor,
    teacher: Tensor,
    settings: RankSettings,
    backend: str = 'auto',
) -> Tensor:
    """The ranking loss of each row, shape (N,); see :func:`kendall_rank_loss`.

    Args:
        student (Tensor): Logits, shape (N, C).
        teacher (Tensor): Logits, shape (N, C); detached.
        settings (RankSettings): All but the backend.
        backend (str): How to compute it.
    """
    check_backend(backend)
    student, teacher = prepare_pair(student, teacher)
    if student.shape[1] < 2 or len(student) == 0:
        return student.sum(1) * 0
    return -soft_tau(student, teacher, settings, backend)


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
    return exact_tau(student, teacher).float()


@MODELS.register_module()
class KendallRankLoss(LogitLoss):
    """Registered form of :func:`kendall_rank_loss`.

    Args:
        k (float): Steepness. It and the next seven are those of
            :class:`RankSettings`, which describes them.
        form (int): Form of the loss.
        normalize (bool): Whether logits are standardised.
        eps (float): Number added to the standard deviation.
        unbiased (bool): Whether the standard deviation has C - 1.
        min_std (float): Floor of the standard deviation.
        channels (str): Which classes count.
        percent (float): How many of them.
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
        check_backend(backend)
        self.settings = RankSettings(
            k, form, normalize, eps, unbiased, min_std, channels, percent
        )
        self.backend = backend

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
        return rank_rows(student, teacher, self.settings, self.backend)

    def extra_repr(self) -> str:
        """Settings, for ``print(model)``."""
        settings = dict(asdict(self.settings), backend=self.backend)
        return ', '.join(f'{k}={v!r}' for k, v in settings.items())
