"""Multi-level logit distillation."""

from typing import Any, Optional, Sequence, Tuple

import torch.nn.functional as F
from torch import Tensor

from mmdet_rankkd.ops import check_min_std, standardize_pair
from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import DistillBatch

from ..base import without_autocast
from .base import BatchLoss, prepare_pair
from .kl_div import kl_rows

TEMPERATURES = (4.0, 3.0, 5.0, 2.0, 6.0)


@without_autocast
def mlkd_loss(
    student: Tensor,
    teacher: Tensor,
    strong: Tuple[Tensor, Tensor],
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    standardized: bool = False,
    min_std: float = 1e-3,
    reference_slip: bool = False,
) -> Tensor:
    r"""Logit distillation on instances, batch and classes, in two views.

    With :math:`\mathrm{KD}_T` the divergence of :func:`kl_div_loss`, P the
    probabilities (N, C) of the weak view at temperature T, m the share of
    images whose largest teacher probability (weak, T = 1) is at most the
    median, and m' that of classes by their summed probability,

    .. math::
        L = \sum_T \Big[ m\,\mathrm{KD}_T^{weak} + \mathrm{KD}_T^{strong}
            + \frac{m}{N} \| P_t P_t^\top - P_s P_s^\top \|_F^2
            + \frac{m'}{C} \| P_t^\top P_t - P_s^\top P_s \|_F^2 \Big]

    (Jin et al., *Multi-Level Logit Distillation*, CVPR 2023, as its code
    has it: there the masks of confident predictions multiply losses that are
    averaged already, so that they act as the shares m and m'.)

    Args:
        student (Tensor): Logits of the weakly augmented view, (N, C).
        teacher (Tensor): Teacher logits of it, (N, C); detached.
        strong (tuple[Tensor, Tensor]): Student and teacher logits of the
            strongly augmented view of the same images, (N, C) each.
        temperatures (Sequence[float]): The paper's five.
        standardized (bool): Standardise the logits of the KD terms (LSKD).
        min_std (float): Floor of their standard deviation, positive; see
            :func:`standardize`.
        reference_slip (bool): Do as the original code, which passes weak
            logits to the strong terms of its last two temperatures. The
            published numbers, also those with standardised logits, were
            obtained with it.

    Returns:
        Tensor: A scalar, at least 0; float32 for half-precision input. Zero,
        attached to the graph, for N = 0.

    Raises:
        ValueError: If shapes differ or a temperature is not positive.
    """
    _check(temperatures)
    weak = prepare_pair(student, teacher)
    strong = prepare_pair(*strong)
    if weak[0].shape != strong[0].shape:
        raise ValueError(
            'both views must show the same images to the same classes, but '
            f'the weak logits are {tuple(weak[0].shape)} and the strong '
            f'{tuple(strong[0].shape)}'
        )
    rows, classes = weak[0].shape
    if not rows:
        return weak[0].sum() + strong[0].sum()
    confidence = F.softmax(weak[1], 1)
    images = _share_below_median(confidence.amax(1))
    columns = _share_below_median(confidence.sum(0))
    inputs = [weak, strong]
    if standardized:
        inputs = [standardize_pair(*pair, min_std) for pair in inputs]
    total = weak[0].new_zeros(())
    for index, temperature in enumerate(temperatures):
        slip = reference_slip and index >= len(temperatures) - 2
        p, q = (F.softmax(x / temperature, 1) for x in weak)
        batch = (q @ q.t() - p @ p.t()).square().sum() / rows
        column = (q.t() @ q - p.t() @ p).square().sum() / classes
        total = (
            total
            + images * kl_rows(*inputs[0], temperature).mean()
            + kl_rows(*inputs[0 if slip else 1], temperature).mean()
            + images * batch
            + columns * column
        )
    return total


def _share_below_median(values: Tensor) -> Tensor:
    return (values <= values.quantile(0.5)).to(values.dtype).mean()


def _check(temperatures: Sequence[float]) -> None:
    if not temperatures or not all(t > 0 for t in temperatures):
        raise ValueError(
            f'temperatures must be positive numbers, got {temperatures}'
        )


@MODELS.register_module()
class MLKDLoss(BatchLoss):
    """Registered form of :func:`mlkd_loss`; needs two views of each image.

    Args:
        temperatures (Sequence[float]): The first is 4 on CIFAR-100, 2 with
            standardised logits, 1 on ImageNet.
        standardized (bool): Standardise the logits of the KD terms (LSKD).
        reference_slip (bool): Do as the original code, which passes weak
            logits to its last two strong terms; for published numbers.
        min_std (float): Floor of the standard deviation of standardised
            logits.
        **kwargs (Any): ``loss_weight``, ``loss_name`` and ``schedule`` of
            :class:`BatchLoss`; both views count, each in its terms.
    """

    loss_name = 'loss_mlkd'
    refusal = 'it compares images in two views, which detectors do not have.'

    def __init__(
        self,
        temperatures: Sequence[float] = TEMPERATURES,
        standardized: bool = False,
        reference_slip: bool = False,
        min_std: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(view='both', **kwargs)
        _check(temperatures)
        check_min_std(min_std)
        self.settings: dict = dict(
            temperatures=tuple(temperatures),
            standardized=standardized,
            min_std=min_std,
            reference_slip=reference_slip,
        )

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of both views of each image."""
        strong = batch.second_view(type(self).__name__)
        return self(
            batch.logits.student,
            batch.logits.teacher,
            weight=batch.logits.weight,
            avg_factor=batch.logits.avg_factor,
            strong=(strong.student, strong.teacher),
        )

    def batch(
        self,
        student: Tensor,
        teacher: Tensor,
        strong: Optional[Tuple[Tensor, Tensor]] = None,
        **views: Any,
    ) -> Tensor:
        """See :func:`mlkd_loss`.

        Raises:
            ValueError: If there is no strong view.
        """
        if strong is None:
            raise ValueError(
                'MLKDLoss needs the logits of a second, strongly augmented '
                'view of each image'
            )
        return mlkd_loss(student, teacher, strong, **self.settings)
