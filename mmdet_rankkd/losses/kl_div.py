"""Knowledge distillation by the Kullback-Leibler divergence."""

from typing import Any, Optional, Union

import torch.nn.functional as F
from torch import Tensor

from mmdet_rankkd.registry import MODELS

from .base import (
    LogitLoss,
    prepare_pair,
    reduce_rows,
    without_autocast,
)
from .kendall import check_min_std, standardize_pair


@without_autocast
def kl_div_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    standardized: bool = False,
    min_std: float = 1e-3,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""KL divergence between softened class distributions.

    For each row, with :math:`q = \mathrm{softmax}(z / T)`,

    .. math:: L_{KL} = T^2 \sum_{i=1}^{C} q^t_i \log(q^t_i / q^s_i)

    (Eq. 2 and 3 of the paper, with the factor :math:`T^2` of its Eq. 9;
    Hinton et al., *Distilling the Knowledge in a Neural Network*, 2015),
    summed over classes and averaged over rows. Note that
    ``mmdet.KnowledgeDistillationKLDivLoss`` averages over classes too and is
    C times smaller. With ``standardized`` the logits are standardised before
    the division by T (Sun et al., *Logit Standardization in Knowledge
    Distillation*, CVPR 2024); see :func:`standardize`.

    Args:
        student (Tensor): Logits, shape (N, C).
        teacher (Tensor): Logits, shape (N, C); detached.
        temperature (float): T > 0.
        standardized (bool): Standardise logits first (LSKD).
        min_std (float): Floor of their standard deviation, positive; see
            :func:`standardize`.
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float, optional): Divisor of the mean in place of N.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'`` over rows.

    Returns:
        Tensor: In nats times :math:`T^2`, at least 0. Computed in float32 for
        half-precision input. Zero, attached to the graph, for N = 0 and for
        C = 1. Non-finite logits give a non-finite loss, so that a gradient
        scaler can skip the step.

    Raises:
        ValueError: If shapes differ, or if ``temperature`` or ``min_std`` is
            not positive.
    """
    if not temperature > 0:
        raise ValueError(f'temperature must be positive, got {temperature}')
    student, teacher = prepare_pair(student, teacher)
    if standardized:
        student, teacher = standardize_pair(student, teacher, min_std)
    rows = kl_rows(student, teacher, temperature)
    return reduce_rows(rows, weight, avg_factor, reduction)


def kl_rows(
    student: Tensor, teacher: Tensor, temperature: Union[float, Tensor]
) -> Tensor:
    """The divergence of each row, times the temperature's square.

    Args:
        student (Tensor): Logits, shape (N, C).
        teacher (Tensor): Logits, shape (N, C).
        temperature (float or Tensor): A scalar, or of shape (N, 1).
    """
    rows = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction='none',
        log_target=True,
    ).sum(1, keepdim=True)
    return (rows * temperature**2).squeeze(1)


@without_autocast
def binary_kl_div_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""KL divergence of each class by itself, for heads that use the sigmoid.

    For each row, with :math:`p = \sigma(z / T)`,

    .. math::
        L = T^2 \sum_{i=1}^{C} \Big( p^t_i \log\frac{p^t_i}{p^s_i}
            + (1 - p^t_i) \log\frac{1 - p^t_i}{1 - p^s_i} \Big)

    the sum of the divergences of C Bernoulli distributions (Yang et al.,
    *Bridging Cross-task Protocol Inconsistency for Distillation in Dense
    Object Detection*, ICCV 2023, without its weights); averaged over rows.

    Args:
        student (Tensor): Logits, shape (N, C).
        teacher (Tensor): Logits, shape (N, C); detached.
        temperature (float): T > 0.
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float, optional): Divisor of the mean in place of N.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'`` over rows.

    Returns:
        Tensor: In nats times :math:`T^2`, at least 0. Computed in float32 for
        half-precision input. Zero, attached to the graph, for N = 0.

    Raises:
        ValueError: If shapes differ or ``temperature`` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f'temperature must be positive, got {temperature}')
    student, teacher = prepare_pair(student, teacher)
    s, t = student / temperature, teacher / temperature
    p = t.sigmoid()
    # log p = log(1 - p) + t: one logarithm for the two terms.
    rows = F.softplus(s) - F.softplus(t) - p * (s - t)
    return reduce_rows(
        rows.sum(1) * temperature**2, weight, avg_factor, reduction
    )


@MODELS.register_module()
class BinaryKLDivLoss(LogitLoss):
    """Registered form of :func:`binary_kl_div_loss`.

    Args:
        temperature (float): T > 0.
        **kwargs (Any): ``loss_weight``, ``reduction``, ``loss_name``
            (``loss_binary_kd`` by default) and ``schedule`` of
            :class:`LogitLoss`.
    """

    loss_name = 'loss_binary_kd'

    def __init__(self, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not temperature > 0:
            raise ValueError(
                f'temperature must be positive, got {temperature}'
            )
        self.temperature = temperature

    def rows(
        self, student: Tensor, teacher: Tensor, labels: Optional[Tensor]
    ) -> Tensor:
        """See :func:`binary_kl_div_loss`."""
        return binary_kl_div_loss(
            student,
            teacher,
            temperature=self.temperature,
            reduction='none',
        )


@MODELS.register_module()
class KLDivLoss(LogitLoss):
    """Registered form of :func:`kl_div_loss` (KD).

    Args:
        temperature (float): T > 0.
        standardized (bool): Standardise logits first (LSKD; its recipe is
            ``temperature=2, loss_weight=9``).
        min_std (float): Floor of their standard deviation.
        **kwargs (Any): ``loss_weight`` (alpha of the paper's Eq. 8),
            ``reduction``, ``loss_name`` (``loss_kd`` by default) and
            ``schedule`` of :class:`LogitLoss`.
    """

    loss_name = 'loss_kd'

    def __init__(
        self,
        temperature: float = 1.0,
        standardized: bool = False,
        min_std: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not temperature > 0:
            raise ValueError(
                f'temperature must be positive, got {temperature}'
            )
        check_min_std(min_std)
        self.temperature = temperature
        self.standardized = standardized
        self.min_std = min_std

    def rows(
        self, student: Tensor, teacher: Tensor, labels: Optional[Tensor]
    ) -> Tensor:
        """See :func:`kl_div_loss`."""
        return kl_div_loss(
            student,
            teacher,
            temperature=self.temperature,
            standardized=self.standardized,
            min_std=self.min_std,
            reduction='none',
        )
