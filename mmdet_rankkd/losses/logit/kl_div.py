"""Knowledge distillation by the Kullback-Leibler divergence."""

from typing import Any, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import (
    BackwardCFunction,
    FunctionCtx,
    once_differentiable,
)

from mmdet_rankkd.ops import check_min_std, standardize_pair
from mmdet_rankkd.registry import MODELS

from ..base import without_autocast
from .base import LogitLoss, prepare_pair, reduce_rows


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
        Tensor: In nats times :math:`T^2`, at least 0 but for rounding: that of
        nearly equal logits may be some 1e-7 below. Computed in float32 for
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
    beta: float = 0.0,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""KL divergence of each class by itself, for heads that use the sigmoid.

    For each row, with :math:`p = \sigma(z / T)`,

    .. math::
        L = T^2 \sum_{i=1}^{C} \Big( p^t_i \log\frac{p^t_i}{p^s_i}
            + (1 - p^t_i) \log\frac{1 - p^t_i}{1 - p^s_i} \Big)

    the sum of the divergences of C Bernoulli distributions; averaged over
    rows. Nearly equal logits d apart keep it to a relative precision of the
    order of that of the dtype over d, wherever they are.

    With ``beta`` above 0, it is the loss of BCKD (Yang et al., *Bridging
    Cross-task Protocol Inconsistency for Distillation in Dense Object
    Detection*, ICCV 2023): each class is weighted by how far
    apart the two are, and what is weighted is the cross-entropy,

    .. math::
        L = -T^2 \sum_{i=1}^{C} |p^t_i - p^s_i|^\beta \big( p^t_i \log p^s_i
            + (1 - p^t_i) \log(1 - p^s_i) \big)

    The gradient goes through the weight too, as in the published code, which
    has :math:`\beta = T = 1`. Where the two are equal, it is zero.

    Args:
        student (Tensor): Logits, shape (N, C).
        teacher (Tensor): Logits, shape (N, C); detached.
        temperature (float): T > 0.
        beta (float): Exponent of BCKD's weights: 0 for none, or at least 1.
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float, optional): Divisor of the mean in place of N.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'`` over rows.

    Returns:
        Tensor: In nats times :math:`T^2`, at least 0. Computed in float32 for
        half-precision input. Zero, attached to the graph, for N = 0.
        Non-finite logits give a non-finite loss.

    Raises:
        ValueError: If shapes differ, ``temperature`` is not positive, or
            ``beta`` neither 0 nor at least 1.
        RuntimeError: If a second derivative is taken.
    """
    check_binary(temperature, beta)
    student, teacher = prepare_pair(student, teacher)
    rows = _BinaryKL.apply(student, teacher, temperature, beta)
    return reduce_rows(rows, weight, avg_factor, reduction)


def check_binary(temperature: float, beta: float) -> None:
    """Raise ValueError for settings out of their range."""
    if not temperature > 0:
        raise ValueError(f'temperature must be positive, got {temperature}')
    if beta != 0 and not beta >= 1:
        raise ValueError(f'beta must be 0 or at least 1, got {beta}')


def bernoulli_kl(student: Tensor, teacher: Tensor) -> Tuple[Tensor, Tensor]:
    """Divergence of each class, precise for equal and for large logits.

    With p the teacher's probability and d the student's logit minus the
    teacher's, it is ``log(1 + p (exp(d) - 1)) - p d``. It is the same with the
    signs of both logits changed, so that p is taken to be at most 1/2: of a p
    near 1, nothing would be left of 1 - p.

    Args:
        student (Tensor): Logits of any shape.
        teacher (Tensor): Logits of the same shape.

    Returns:
        tuple[Tensor, Tensor]: The divergence, and its derivative by the
        student's logit, the difference of the probabilities.
    """
    flipped = teacher > 0
    s, t = torch.where(flipped, -student, student), -teacher.abs()
    p, d = t.sigmoid(), s - t
    near = torch.log1p(p * torch.expm1(d.clamp(max=1)))
    # The same logarithm, in a form that no d overflows. It has the difference
    # of two terms, which are not nearly equal for such d.
    far = s.clamp(min=0) + s.abs().neg().exp().log1p() - t.exp().log1p()
    slope = s.sigmoid() - p
    return (
        torch.where(d < 1, near, far) - p * d,
        torch.where(flipped, -slope, slope),
    )


def weighted_entropy(
    student: Tensor, teacher: Tensor, beta: float
) -> Tuple[Tensor, Tensor]:
    """BCKD's loss of each class, precise as :func:`bernoulli_kl` is.

    Args:
        student (Tensor): Logits of any shape.
        teacher (Tensor): Logits of the same shape.
        beta (float): Exponent of the weight, at least 1.

    Returns:
        tuple[Tensor, Tensor]: The loss, and its derivative by the student's
        logit, through the weight as well.
    """
    flipped = teacher > 0
    s, t = torch.where(flipped, -student, student), -teacher.abs()
    p, q = t.sigmoid(), s.sigmoid()
    entropy = s.clamp(min=0) - p * s + s.abs().neg().exp().log1p()
    apart = q - p
    size = apart.abs()
    weight = size.pow(beta)
    slope = weight * apart + beta * size.pow(beta - 1) * apart.sign() * (
        q * (-s).sigmoid() * entropy
    )
    return weight * entropy, torch.where(flipped, -slope, slope)


class _BinaryKL(torch.autograd.Function):
    """Sum of :func:`bernoulli_kl` over classes; keeps the gradient.

    With ``beta`` that of :func:`weighted_entropy`.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        student: Tensor,
        teacher: Tensor,
        temperature: float,
        beta: float,
    ) -> Tensor:
        gradient = torch.empty_like(student)
        sums = student.new_empty(len(student))
        # In pieces, so that what lies between is small.
        piece = 2**15 if student.device.type == 'cpu' else 2**22
        rows = max(1, piece // max(student.shape[1], 1))
        for s, t, out, total in zip(
            *(x.split(rows) for x in (student, teacher, gradient, sums))
        ):
            s, t = s / temperature, t / temperature
            terms, slopes = (
                weighted_entropy(s, t, beta) if beta else bernoulli_kl(s, t)
            )
            torch.sum(terms * temperature**2, 1, out=total)
            torch.mul(slopes, temperature, out=out)
        ctx.save_for_backward(gradient)
        return sums

    @staticmethod
    @once_differentiable
    def backward(
        ctx: BackwardCFunction, grad: Tensor
    ) -> Tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad[:, None] * gradient, None, None, None


@MODELS.register_module()
class BinaryKLDivLoss(LogitLoss):
    """Registered form of :func:`binary_kl_div_loss`.

    Args:
        temperature (float): T > 0.
        beta (float): Exponent of BCKD's weights, 1 as published; 0 for the
            plain divergence. BCKD goes with ``rows='per_object'``.
        **kwargs (Any): ``loss_weight``, ``reduction``, ``loss_name``
            (``loss_binary_kd`` by default) and ``schedule`` of
            :class:`LogitLoss`.
    """

    loss_name = 'loss_binary_kd'
    sigmoid = True

    def __init__(
        self, temperature: float = 1.0, beta: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_binary(temperature, beta)
        self.temperature = temperature
        self.beta = beta

    def rows(
        self, student: Tensor, teacher: Tensor, labels: Optional[Tensor]
    ) -> Tensor:
        """See :func:`binary_kl_div_loss`."""
        return binary_kl_div_loss(
            student,
            teacher,
            temperature=self.temperature,
            beta=self.beta,
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
