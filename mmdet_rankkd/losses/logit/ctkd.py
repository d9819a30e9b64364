"""Curriculum temperature for knowledge distillation."""

import math
from typing import Any, Optional

import torch
from torch import Tensor, nn

from mmdet_rankkd.ops import check_min_std, standardize_pair
from mmdet_rankkd.registry import MODELS

from ..base import without_autocast
from .base import LogitLoss, prepare_pair, reduce_rows
from .kl_div import kl_rows


def reversal(step: int, length: int) -> float:
    r"""Factor on the temperature's gradient, from about 0 down to -1.

    :math:`\lambda = \tfrac12 (\cos(\pi \min(e, E) / E) + 1) - 1`, with e
    counted from 1 (CTKD, Eq. 9).

    Args:
        step (int): Epoch or iteration, from 0.
        length (int): E > 0.
    """
    return (math.cos(math.pi * min(step + 1, length) / length) + 1) / 2 - 1


@without_autocast
def ctkd_loss(
    student: Tensor,
    teacher: Tensor,
    theta: Tensor,
    *,
    factor: float = -1.0,
    t_start: float = 1.0,
    t_range: float = 20.0,
    standardized: bool = False,
    min_std: float = 1e-3,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""KD whose temperature is a function of a learned number.

    :func:`kl_div_loss` with :math:`T = T_0 + T_1 \sigma(\theta)`, through
    which the gradient goes, multiplied by a factor on its way to theta (Li
    et al., *Curriculum Temperature for Knowledge Distillation*, AAAI 2023).

    Args:
        student (Tensor): Logits, shape (N, C).
        teacher (Tensor): Logits, shape (N, C); detached.
        theta (Tensor): A scalar, or of shape (N, 1).
        factor (float): Factor on the gradient of theta; negative makes it
            adverse.
        t_start (float): T_0 > 0.
        t_range (float): T_1 > 0.
        standardized (bool): Standardise logits first (LSKD).
        min_std (float): Floor of their standard deviation, positive; see
            :func:`standardize`.
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float, optional): Divisor of the mean in place of N.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'`` over rows.

    Returns:
        Tensor: At least 0; computed in float32 for half-precision input.

    Raises:
        ValueError: If shapes differ or a temperature is not positive.
    """
    _check(t_start, t_range)
    student, teacher = prepare_pair(student, teacher)
    if standardized:
        student, teacher = standardize_pair(student, teacher, min_std)
    theta = theta.to(student.dtype)
    # The same number, with its gradient multiplied by the factor.
    theta = theta.detach() + factor * (theta - theta.detach())
    temperature = t_start + t_range * theta.sigmoid()
    rows = kl_rows(student, teacher, temperature)
    return reduce_rows(rows, weight, avg_factor, reduction)


def _check(t_start: float, t_range: float) -> None:
    if not (t_start > 0 and t_range > 0):
        raise ValueError(
            't_start and t_range must be positive, got '
            f'{t_start} and {t_range}'
        )


@MODELS.register_module()
class CTKDLoss(LogitLoss):
    r"""KD whose temperature is learned against the student.

    :func:`ctkd_loss` with the gradient of :math:`\theta` multiplied by
    :func:`reversal`, which is negative: the temperature makes the task harder
    as the training goes on. The gradient goes through T everywhere, its
    square in front of the divergence included. Its parameters are trained by
    the student's optimizer, saved under ``distiller.``, resumed, and never
    exported.

    The instance-wise form has no published code: here a perceptron of two
    layers on both logits gives :math:`\theta` of each row, its last layer
    zero at first, so that it starts as the global form does.

    Args:
        t_start (float): T_0 > 0.
        t_range (float): T_1 > 0.
        init (float): Start of theta; at 1, T is 15.62.
        length (int): Epochs (or iterations) until the gradient is reversed
            in full: 10 on CIFAR-100, 5 on ImageNet.
        by_epoch (bool): Count epochs rather than iterations.
        standardized (bool): Standardise logits first (LSKD).
        num_classes (int, optional): Columns of the logits, which makes the
            temperature one of each row; None for one of all rows.
        hidden (int): Width of the perceptron.
        min_std (float): Floor of the standard deviation of standardised
            logits.
        **kwargs (Any): ``loss_weight``, ``reduction``, ``loss_name`` and
            ``schedule`` of :class:`LogitLoss`.

    Raises:
        ValueError: If a setting is out of range.
    """

    loss_name = 'loss_ctkd'

    def __init__(
        self,
        t_start: float = 1.0,
        t_range: float = 20.0,
        init: float = 1.0,
        length: int = 10,
        by_epoch: bool = True,
        standardized: bool = False,
        num_classes: Optional[int] = None,
        hidden: int = 64,
        min_std: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check(t_start, t_range)
        check_min_std(min_std)
        if not length > 0:
            raise ValueError(f'length must be positive, got {length}')
        if num_classes is not None and num_classes < 1:
            raise ValueError(
                f'num_classes must be positive, got {num_classes}'
            )
        self.t_start = t_start
        self.t_range = t_range
        self.length = length
        self.by_epoch = by_epoch
        self.standardized = standardized
        self.min_std = min_std
        self.reversal = reversal(0, length)
        self.theta = nn.Parameter(torch.tensor(float(init)))
        self.perceptron: Optional[nn.Sequential] = None
        if num_classes is not None:
            first, last = (
                nn.Linear(2 * num_classes, hidden),
                nn.Linear(hidden, 1),
            )
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.perceptron = nn.Sequential(first, nn.ReLU(), last)

    def set_progress(self, epoch: int, iteration: int) -> None:
        """Reverse the temperature's gradient further as training goes on."""
        super().set_progress(epoch, iteration)
        now = epoch if self.by_epoch else iteration
        self.reversal = reversal(now, self.length)

    def scores(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Theta, a scalar, or of shape (N, 1) for the instance-wise form."""
        theta: Tensor = self.theta
        if self.perceptron is not None:
            student, teacher = prepare_pair(student, teacher)
            if self.standardized:
                student, teacher = standardize_pair(
                    student, teacher, self.min_std
                )
            logits = torch.cat([student, teacher], 1).detach()
            with torch.autocast(logits.device.type, enabled=False):
                theta = theta + self.perceptron(logits)
        return theta

    def rows(
        self, student: Tensor, teacher: Tensor, labels: Optional[Tensor]
    ) -> Tensor:
        """See :class:`CTKDLoss`."""
        return ctkd_loss(
            student,
            teacher,
            self.scores(student, teacher),
            factor=self.reversal,
            t_start=self.t_start,
            t_range=self.t_range,
            standardized=self.standardized,
            min_std=self.min_std,
            reduction='none',
        )
