"""Decoupled knowledge distillation."""

from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet_rankkd.ops import check_min_std, standardize_pair
from mmdet_rankkd.registry import MODELS

from ..base import without_autocast
from .base import LogitLoss, check_labels, prepare_pair, reduce_rows


@without_autocast
def dkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Optional[Tensor],
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    standardized: bool = False,
    min_std: float = 1e-3,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Decoupled KD: target and non-target classes apart.

    For each row, with :math:`q = \mathrm{softmax}(z / T)`, target y,
    :math:`b = (q_y, 1 - q_y)` and :math:`\hat q` the softmax over the other
    classes,

    .. math::
        L = T^2 [\alpha\,\mathrm{KL}(b^t \| b^s)
            + \beta\,\mathrm{KL}(\hat q^t \| \hat q^s)]

    (Zhao et al., *Decoupled Knowledge Distillation*, CVPR 2022, Eq. 7).
    With ``alpha = 1`` and ``beta = 1 - q^t_y`` it would be KD. The original
    code masks the target with -1000, which float32 tells from the exact form
    only for logits far apart; here it is left out exactly, and
    :math:`\log(1 - q_y)` is a log-sum-exp, finite in every dtype. With two
    classes the second term is zero.

    Args:
        student (Tensor): Logits, shape (N, C), C > 1.
        teacher (Tensor): Logits, shape (N, C); detached.
        labels (Tensor): Target class of each row, shape (N,), in [0, C).
        alpha (float): Weight of the target term, at least 0.
        beta (float): Weight of the non-target term, at least 0.
        temperature (float): T > 0.
        standardized (bool): Standardise logits first (LSKD).
        min_std (float): Floor of their standard deviation, positive; see
            :func:`standardize`.
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float, optional): Divisor of the mean in place of N.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'`` over rows.

    Returns:
        Tensor: In nats times :math:`T^2`, at least 0; float32 for
        half-precision input. Zero, attached to the graph, for N = 0.

    Raises:
        ValueError: If shapes differ, labels are missing or out of range, or
            a setting is.
    """
    _check(alpha, beta, temperature)
    student, teacher = prepare_pair(student, teacher)
    labels = check_labels(labels, student, 'dkd_loss')
    if standardized:
        student, teacher = standardize_pair(student, teacher, min_std)
    target = F.one_hot(labels, student.shape[1]).bool()
    log_s = F.log_softmax(student / temperature, 1)
    log_t = F.log_softmax(teacher / temperature, 1)
    shape = (len(labels), student.shape[1] - 1)
    others_s, others_t = (
        x.masked_select(~target).view(shape) for x in (log_s, log_t)
    )
    # log(1 - q_y), the share of all other classes
    rest_s, rest_t = (
        x.logsumexp(1, keepdim=True) for x in (others_s, others_t)
    )
    binary_s, binary_t = (
        torch.cat([x.gather(1, labels[:, None]), rest], 1)
        for x, rest in ((log_s, rest_s), (log_t, rest_t))
    )
    tckd = _kl(binary_s, binary_t)
    nckd = _kl(others_s - rest_s, others_t - rest_t)
    rows = temperature**2 * (alpha * tckd + beta * nckd)
    return reduce_rows(rows, weight, avg_factor, reduction)


def _kl(log_s: Tensor, log_t: Tensor) -> Tensor:
    return F.kl_div(log_s, log_t, reduction='none', log_target=True).sum(1)


def _check(alpha: float, beta: float, temperature: float) -> None:
    if alpha < 0 or beta < 0 or not temperature > 0:
        raise ValueError(
            'alpha and beta must be at least 0 and temperature positive, got '
            f'{alpha}, {beta} and {temperature}'
        )


@MODELS.register_module()
class DKDLoss(LogitLoss):
    """Registered form of :func:`dkd_loss`; needs labels.

    Args:
        alpha (float): Weight of the target term.
        beta (float): Weight of the non-target term.
        temperature (float): T > 0.
        standardized (bool): Standardise logits first (LSKD).
        min_std (float): Floor of their standard deviation.
        **kwargs (Any): ``loss_weight``, ``reduction``, ``loss_name`` and
            ``schedule`` of :class:`LogitLoss`. The original recipe on
            CIFAR-100 is ``schedule=dict(warmup=20)``.
    """

    loss_name = 'loss_dkd'

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        standardized: bool = False,
        min_std: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check(alpha, beta, temperature)
        check_min_std(min_std)
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.standardized = standardized
        self.min_std = min_std

    def rows(
        self, student: Tensor, teacher: Tensor, labels: Optional[Tensor]
    ) -> Tensor:
        """See :func:`dkd_loss`."""
        return dkd_loss(
            student,
            teacher,
            labels,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
            standardized=self.standardized,
            min_std=self.min_std,
            reduction='none',
        )
