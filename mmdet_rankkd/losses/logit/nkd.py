"""Normalised knowledge distillation."""

from typing import Any, Optional

import torch.nn.functional as F
from torch import Tensor

from mmdet_rankkd.registry import MODELS

from ..base import without_autocast
from .base import LogitLoss, check_labels, prepare_pair, reduce_rows


@without_autocast
def nkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Optional[Tensor],
    *,
    gamma: float = 1.5,
    temperature: float = 1.0,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Normalised KD: soft target loss and normalised non-target loss.

    For each row with target y, :math:`p = \mathrm{softmax}(z)` and
    :math:`\mathcal N(z)` the softmax over the other C - 1 classes,

    .. math::
        L = -p^t_y \log p^s_y - \gamma \lambda^2 \sum_{i \ne y}
            \mathcal N(z^t / \lambda)_i \log \mathcal N(z^s / \lambda)_i

    (Yang et al., *From Knowledge Distillation to Self-Knowledge
    Distillation*, ICCV 2023, Eq. 10, without its plain cross-entropy). A
    cross-entropy, not a divergence: it does not vanish for equal logits.

    Args:
        student (Tensor): Logits, shape (N, C), C > 1.
        teacher (Tensor): Logits, shape (N, C); detached.
        labels (Tensor): Target class of each row, shape (N,), in [0, C).
        gamma (float): Weight of the non-target term, at least 0.
        temperature (float): The temperature lambda of the non-target term,
            positive; the other term has none.
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float, optional): Divisor of the mean in place of N.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'`` over rows.

    Returns:
        Tensor: In nats, at least 0; float32 for half-precision input. Zero,
        attached to the graph, for N = 0.

    Raises:
        ValueError: If shapes differ, labels are missing or out of range, or
            a setting is.
    """
    _check(gamma, temperature)
    student, teacher = prepare_pair(student, teacher)
    labels = check_labels(labels, student, 'nkd_loss')
    index = labels[:, None]
    hard = -(
        F.softmax(teacher, 1).gather(1, index)
        * F.log_softmax(student, 1).gather(1, index)
    ).squeeze(1)
    others = ~F.one_hot(labels, student.shape[1]).bool()
    shape = (len(labels), student.shape[1] - 1)
    s, t = (x[others].view(shape) / temperature for x in (student, teacher))
    soft = -(F.softmax(t, 1) * F.log_softmax(s, 1)).sum(1)
    rows = hard + gamma * temperature**2 * soft
    return reduce_rows(rows, weight, avg_factor, reduction)


def _check(gamma: float, temperature: float) -> None:
    if gamma < 0 or not temperature > 0:
        raise ValueError(
            'gamma must be at least 0 and temperature positive, got '
            f'{gamma} and {temperature}'
        )


@MODELS.register_module()
class NKDLoss(LogitLoss):
    """Registered form of :func:`nkd_loss`; needs labels.

    Args:
        gamma (float): Weight of the non-target term.
        temperature (float): Temperature of the non-target term, positive.
        **kwargs (Any): ``loss_weight``, ``reduction``, ``loss_name`` and
            ``schedule`` of :class:`LogitLoss`.
    """

    loss_name = 'loss_nkd'

    def __init__(
        self, gamma: float = 1.5, temperature: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        _check(gamma, temperature)
        self.gamma = gamma
        self.temperature = temperature

    def rows(
        self, student: Tensor, teacher: Tensor, labels: Optional[Tensor]
    ) -> Tensor:
        """See :func:`nkd_loss`."""
        return nkd_loss(
            student,
            teacher,
            labels,
            gamma=self.gamma,
            temperature=self.temperature,
            reduction='none',
        )
