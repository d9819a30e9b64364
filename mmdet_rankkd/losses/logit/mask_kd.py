"""Distillation of the masks of instances."""

from typing import Any, Optional

from torch import Tensor

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import DistillBatch, Probe

from ..base import DistillLoss, without_autocast
from .base import reduce_rows
from .kl_div import binary_kl_div_loss, check_binary


@without_autocast
def mask_kd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""KL divergence of the pixels of masks, each by itself.

    :math:`L = \frac{T^2}{P} \sum_n \frac{1}{HW} \sum_i
    \mathrm{KL}(p^t_{ni}, p^s_{ni})` with Bernoulli distributions of
    :math:`p = \sigma(z / T)`: Hinton et al., *Distilling the Knowledge in a
    Neural Network*, 2015, in the form of :func:`binary_kl_div_loss`, with the
    mean over pixels that Mask R-CNN's own loss has.

    Args:
        student (Tensor): Logits of the masks' pixels, shape (P, H * W).
        teacher (Tensor): Shape (P, H * W); detached.
        temperature (float): T > 0.
        weight (Tensor, optional): Weight of each mask, shape (P,).
        avg_factor (float, optional): Divisor of the mean in place of P.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'`` over masks.

    Returns:
        Tensor: In nats times :math:`T^2`, at least 0. Computed in float32 for
        half-precision input. Zero, attached to the graph, for P = 0.
        Non-finite logits give a non-finite loss.

    Raises:
        ValueError: If shapes differ or ``temperature`` is not positive.
    """
    rows = binary_kl_div_loss(
        student, teacher, temperature=temperature, reduction='none'
    )
    pixels = max(student.shape[1], 1)
    return reduce_rows(rows / pixels, weight, avg_factor, reduction)


@MODELS.register_module()
class MaskKDLoss(DistillLoss):
    """Registered form of :func:`mask_kd_loss`, on the student's own RoIs.

    For Mask R-CNN, Cascade Mask R-CNN and kin: the masks of the boxes that
    the student's sampler gave to objects, each in the class of its object.
    There is no published setting; a weight of 1 is that of the student's
    own mask loss.

    Args:
        temperature (float): T, positive.
        **kwargs (Any): ``loss_weight``, ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.

    Raises:
        ValueError: If the temperature is not positive.
    """

    loss_name = 'loss_mask_kd'

    def __init__(self, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_binary(temperature, 0.0)
        self.temperature = temperature

    def attach(self, probe: Probe) -> None:
        """Have the masks recorded."""
        probe.masks(type(self).__name__)

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of a batch."""
        pair = batch.mask_logits(type(self).__name__)
        return self(pair.student, pair.teacher, pair.weight, pair.avg_factor)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        weight: Optional[Tensor] = None,
        avg_factor: Optional[float] = None,
    ) -> Tensor:
        """Weighted :func:`mask_kd_loss`."""
        return self.current_weight * mask_kd_loss(
            student,
            teacher,
            temperature=self.temperature,
            weight=weight,
            avg_factor=avg_factor,
        )
