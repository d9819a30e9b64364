"""CrossKD: the student's maps through the rest of the teacher's head."""

from typing import Any, List, Optional, Sequence, Union

import torch
from torch import Tensor, nn

from mmdet_rankkd.ops import paired_iou
from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import (
    DistillBatch,
    HeadMaps,
    Predictions,
    Probe,
    mean_over_processes,
)

from ..base import DistillLoss, without_autocast
from ..feature.base import align, in_float
from ..logit.base import prepare_pair
from ..logit.kl_div import binary_kl_div_loss
from .ld import side_rows

EPS = 1e-6
OVERLAPS = ('giou', 'iou')


@without_autocast
def match_scale(student: Tensor, teacher: Tensor) -> Tensor:
    """A map with mean and deviation of each channel of another.

    Both are taken over the batch and the places, the deviation as that of a
    sample; to the student's, 1e-6 is added. Of a single value, only the
    teacher's mean is left.

    Args:
        student (Tensor): Shape (B, C, H, W).
        teacher (Tensor): Shape (B, C, H, W); detached.

    Returns:
        Tensor: Shape (B, C, H, W), in float32 for half-precision input.
    """
    student, teacher = in_float(student, teacher.detach())
    dims = (0, 2, 3)
    values = student.numel() // max(student.shape[1], 1)
    one = int(values > 1)
    (s_std, s_mean), (t_std, t_mean) = (
        torch.std_mean(x, dims, correction=one, keepdim=True)
        for x in (student, teacher)
    )
    return (student - s_mean) / (s_std + EPS) * t_std + t_mean


@without_autocast
def cross_kd_class_loss(
    crossed: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[Union[float, Tensor]] = None,
) -> Tensor:
    r"""Cross-entropy of the classes, weighted by how far apart they are.

    :math:`L = \frac{1}{Z} \sum_r w_r \sum_i |p^t_{ri} - p^s_{ri}|^\beta
    \mathrm{BCE}(p^s_{ri}, p^t_{ri})`, the quality focal loss with the
    teacher's probabilities as soft targets (Wang et al., *CrossKD:
    Cross-Head Knowledge Distillation for Object Detection*, CVPR 2024). It is
    :func:`binary_kl_div_loss` with ``beta``.

    Args:
        crossed (Tensor): Logits of the student's maps by the teacher's head,
            shape (N, C).
        teacher (Tensor): Logits of the teacher, shape (N, C); detached.
        beta (float): Exponent, at least 1; 0 for the plain divergence.
        weight (Tensor, optional): w, shape (N,).
        avg_factor (float or Tensor, optional): Z in place of N.

    Returns:
        Tensor: In nats, at least 0; float32 for half-precision input; zero,
        attached to the graph, for N = 0.

    Raises:
        ValueError: If shapes differ or ``beta`` is out of range.
    """
    total = binary_kl_div_loss(
        crossed, teacher, beta=beta, weight=weight, reduction='sum'
    )
    return total / (max(len(crossed), 1) if avg_factor is None else avg_factor)


@without_autocast
def cross_kd_box_loss(
    crossed: Tensor,
    teacher: Tensor,
    weight: Tensor,
    avg_factor: Optional[Tensor] = None,
    overlap: str = 'giou',
) -> Tensor:
    r"""Difference of boxes, weighted.

    Of corners :math:`L = \frac{1}{Z} \sum_r w_r (1 - \mathrm{GIoU}_r)`, or
    :math:`-\log \mathrm{IoU}_r` in place of the bracket; of distributions of
    the four sides :math:`L = \frac{1}{Z} \sum_r w_r \sum_{side}
    \mathrm{KL}(q^t_r, q^s_r)` (the same paper).

    Args:
        crossed (Tensor): Predictions of the student's maps by the teacher's
            head, shape (N, 4) or (N, 4 * (n + 1)); see ``Predictions``.
        teacher (Tensor): Those of the teacher, of the same shape; detached.
        weight (Tensor): w, shape (N,).
        avg_factor (Tensor, optional): Z; the sum of the weights by default.
        overlap (str): ``'giou'`` or ``'iou'``, of corners.

    Returns:
        Tensor: At least 0; float32 for half-precision input; zero, attached
        to the graph, for N = 0 and where no weight is above 0.

    Raises:
        ValueError: If shapes differ, or ``overlap`` is neither.
    """
    check_overlap(overlap)
    crossed, teacher = prepare_pair(crossed, teacher)
    if crossed.shape[1] > 4:
        rows = side_rows(crossed, teacher, 1.0).sum(1)
    else:
        iou, giou = paired_iou(crossed, teacher)
        rows = -iou.clamp(min=EPS).log() if overlap == 'iou' else 1 - giou
    if avg_factor is None:
        avg_factor = weight.sum().clamp(min=torch.finfo(rows.dtype).eps)
    return (rows * weight.to(rows)).sum() / avg_factor


def check_overlap(overlap: str) -> None:
    """Raise ValueError unless it is one of the documented ones."""
    if overlap not in OVERLAPS:
        raise ValueError(f'overlap must be one of {OVERLAPS}, got {overlap!r}')


@MODELS.register_module()
class CrossKDLoss(DistillLoss):
    """Classes and boxes of the student's maps by the teacher's head.

    The student's maps behind ``layer`` of its two towers get scale and offset
    of the teacher's (:func:`match_scale`) and go through the rest of the
    teacher's head, which is frozen; what it predicts is compared with what it
    predicts of its own maps. The maps are those behind the activation: the
    published code takes them before it, but its ReLU writes over them. Where
    it is a ReLU, they are cut at 0 once more when they enter. The loss is
    ``class_weight`` times :func:`cross_kd_class_loss`, over all places, plus
    ``box_weight`` times :func:`cross_kd_box_loss` with the teacher's highest
    class probability as weight. Both are divided by the number of places on
    objects, of FCOS by the sum of their centerness targets, the mean over the
    processes and at least 1; the boxes of heads with distributions by the sum
    of the weights. All that is as published, but for the floor. Places that
    the student's own loss leaves out count nowhere.

    Towers of another width get a 1 x 1 convolution on the student's side,
    one for the levels of each tower, which the published code does not have.

    For dense detectors that classify by the sigmoid: RetinaNet, FCOS, ATSS,
    GFL, RTMDet. The published runs (``layer=3``, with towers of four
    convolutions, unless said; ``class_weight``, ``box_weight``):

    - RetinaNet, ATSS: 1, 1. ATSS compares centernesses too, which is not
      done here.
    - GFL: 1, 1, which is 4 in its code, where the sides are averaged.
    - FCOS: ``layer=2``, 0.4, 0.75, ``overlap='iou'``.

    Args:
        layer (int): Convolution of the towers behind which the maps are
            taken: 1 is the first; -1 leaves the teacher its last one.
        class_weight (float): Weight of the classes, at least 0.
        box_weight (float): Weight of the boxes, at least 0.
        beta (float): Exponent of the weight of each class.
        overlap (str): ``'giou'`` or ``'iou'``; not for distributions.
        loss_weight (float): Factor on the whole.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.

    Raises:
        ValueError: If a setting is out of its range.
    """

    loss_name = 'loss_crosskd'

    def __init__(
        self,
        layer: int = -1,
        class_weight: float = 1.0,
        box_weight: float = 1.0,
        beta: float = 1.0,
        overlap: str = 'giou',
        loss_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        if not min(class_weight, box_weight) >= 0 or not (
            class_weight or box_weight
        ):
            raise ValueError(
                'CrossKDLoss needs a class_weight and a box_weight of at '
                'least 0, and not 0 for both, got '
                f'{class_weight} and {box_weight}'
            )
        check_overlap(overlap)
        self.layer = layer
        self.class_weight = class_weight
        self.box_weight = box_weight
        self.beta = beta
        self.overlap = overlap
        self.adapters = nn.ModuleList()

    def attach(self, probe: Probe) -> None:
        """One adapter a tower, by the widths of both heads."""
        self.build(*probe.crossed(self.layer))

    def build(self, student: HeadMaps, teacher: HeadMaps) -> None:
        """Make the adapters.

        Args:
            student (HeadMaps): Maps of an image.
            teacher (HeadMaps): Those of the teacher.
        """
        for s, t in zip(student, teacher):
            self.adapters.append(align(s[0], t[0]))

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of a batch."""
        # It divides by the number of places on objects.
        batch.ground_truth('CrossKDLoss')
        crossing = batch.crossed('CrossKDLoss')
        crossed = crossing.rest(self.match(crossing.student, crossing.teacher))
        return self(
            crossed, crossing.target, crossing.weight, crossing.avg_factor
        )

    def match(self, student: HeadMaps, teacher: HeadMaps) -> HeadMaps:
        """The student's maps in width and scale of the teacher's."""
        towers: List[Sequence[Tensor]] = [
            [match_scale(adapt(s), t) for s, t in zip(*levels)]
            for adapt, *levels in zip(self.adapters, student, teacher)
        ]
        return HeadMaps(*(list(levels) for levels in towers))

    def forward(
        self,
        student: Predictions,
        teacher: Predictions,
        weight: Tensor,
        avg_factor: Tensor,
    ) -> Tensor:
        """Weighted loss of predictions.

        Args:
            student (Predictions): Those of the student's maps.
            teacher (Predictions): The teacher's own.
            weight (Tensor): Weight of each row, shape (N,).
            avg_factor (Tensor): That of ``Crossing``.
        """
        classes = cross_kd_class_loss(
            student.logits,
            teacher.logits,
            beta=self.beta,
            weight=weight,
            avg_factor=avg_factor,
        )
        surety = teacher.logits.detach().float().sigmoid().amax(1)
        surety = surety * (weight > 0)
        if student.boxes.shape[1] > 4:
            avg_factor = mean_over_processes(surety.sum())
        boxes = cross_kd_box_loss(
            student.boxes, teacher.boxes, surety, avg_factor, self.overlap
        )
        return self.current_weight * (
            self.class_weight * classes + self.box_weight * boxes
        )
