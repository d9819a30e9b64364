"""LD: localisation distillation."""

from typing import Any, List, Optional, Sequence

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmdet_rankkd.ops import box_iou, centre_distance
from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import BoxPair, DistillBatch, Probe

from ..base import DistillLoss, without_autocast
from ..logit.base import prepare_pair, reduce_rows
from ..logit.kl_div import kl_rows


@without_autocast
def ld_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 10.0,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Divergence of the distributions of the four sides of boxes.

    For each box, with q the softmax of the n + 1 logits of a side over T,

    .. math::
        L = \frac{1}{4} \sum_{side} \frac{T^2}{n + 1} \sum_{i=0}^{n} q^t_i
        \log\frac{q^t_i}{q^s_i}

    (Zheng et al., *Localization Distillation for Dense Object Detection*,
    CVPR 2022). The mean over bins is that of the published code and of
    MMDetection's ``LDHead``; a divergence has the sum.

    Args:
        student (Tensor): Logits, shape (N, 4 * (n + 1)).
        teacher (Tensor): Logits, shape (N, 4 * (n + 1)); detached.
        temperature (float): T > 0.
        weight (Tensor, optional): Weight of each box, shape (N,).
        avg_factor (float, optional): Divisor of the mean in place of N.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'`` over boxes.

    Returns:
        Tensor: In nats times :math:`T^2 / (n + 1)`, at least 0. Computed in
        float32 for half-precision input. Zero, attached to the graph, for
        N = 0 and for one bin. Non-finite logits give a non-finite loss.

    Raises:
        ValueError: If shapes differ or are not those of four sides, or the
            temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f'temperature must be positive, got {temperature}')
    student, teacher = prepare_pair(student, teacher)
    sides = side_rows(student, teacher, temperature)
    rows = sides.mean(1) / (student.shape[1] // 4)
    return reduce_rows(rows, weight, avg_factor, reduction)


def side_rows(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Divergence of the four sides of boxes, the sum over the bins of each.

    Args:
        student (Tensor): Logits, shape (N, 4 * (n + 1)).
        teacher (Tensor): Logits, shape (N, 4 * (n + 1)).
        temperature (float): T > 0.

    Returns:
        Tensor: Times :math:`T^2`, shape (N, 4).

    Raises:
        ValueError: If the columns are not those of four sides.
    """
    bins, rest = divmod(student.shape[1], 4)
    if rest or not bins:
        raise ValueError(
            'box distributions have a number of columns that four sides '
            f'share, got {student.shape[1]}'
        )
    s, t = (x.reshape(-1, bins) for x in (student, teacher))
    return kl_rows(s, t, temperature).view(-1, 4)


@MODELS.register_module()
class LDLoss(DistillLoss):
    r"""Localisation distillation on the main and the valuable region.

    The sum of :func:`ld_loss` over the boxes of the batch, each with a
    weight. In the main region, the locations that the student's assigner
    gave to objects, it is the student's highest class probability there; in
    the valuable one (:func:`valuable_region`) ``valuable_weight / 4`` times
    the overlap of the anchor with its object. Neither is divided by the
    number of boxes, as in the published code; with ``valuable_weight=0`` it
    is ``loss_ld`` of MMDetection's ``LDHead``.

    For detectors whose heads give distributions of the sides of boxes: GFL
    and what is derived from it. The published runs add KD of the classes.

    Args:
        temperature (float): T, positive.
        valuable_weight (float): Weight of the valuable region beside the
            main one, at least 0; 0 leaves it out.
        margin (float): Gamma, the part of the assigner's threshold from which
            on an anchor is of the valuable region, in [0, 1].
        topk (int): Anchors a level that the threshold is taken from; that of
            the student's ATSS assigner.
        reference_slip (bool): Do as the published code, which takes the part
            of the anchor that is covered for the overlap in the distance IoU.
        loss_weight (float): 0.25 as published.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.

    Raises:
        ValueError: If a setting is out of its range.
    """

    loss_name = 'loss_ld'

    def __init__(
        self,
        temperature: float = 10.0,
        valuable_weight: float = 1.0,
        margin: float = 0.25,
        topk: int = 9,
        reference_slip: bool = False,
        loss_weight: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        if not temperature > 0 or valuable_weight < 0:
            raise ValueError(
                'LDLoss needs a positive temperature and a valuable_weight of '
                f'at least 0, got {temperature} and {valuable_weight}'
            )
        if not 0 <= margin <= 1 or topk < 1:
            raise ValueError(
                'LDLoss needs a margin in [0, 1] and topk of at least 1, got '
                f'{margin} and {topk}'
            )
        self.temperature = temperature
        self.valuable_weight = valuable_weight
        self.margin = margin
        self.topk = topk
        self.reference_slip = reference_slip

    def attach(self, probe: Probe) -> None:
        """Have the distributions recorded."""
        probe.distributions()

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of a batch."""
        samples = batch.ground_truth('LDLoss')
        pair = batch.distributions('LDLoss')
        weight = pair.confidence * pair.foreground
        if self.valuable_weight:
            region = self.region(pair, samples)
            weight = weight + self.valuable_weight / 4 * region
        counts = weight > 0
        return self(pair.student[counts], pair.teacher[counts], weight[counts])

    def region(
        self, pair: BoxPair, data_samples: Sequence[BaseDataElement]
    ) -> Tensor:
        """:func:`valuable_region` of all images, shape (N,).

        Raises:
            ValueError: If there are no ground-truth boxes.
        """
        weight = torch.zeros_like(pair.confidence)
        for index, sample in enumerate(data_samples):
            objects = sample.get('gt_instances')
            if objects is None:
                raise ValueError(
                    'LDLoss needs the ground-truth boxes of each image for '
                    'its valuable region; valuable_weight=0 leaves it out'
                )
            boxes = getattr(objects.bboxes, 'tensor', objects.bboxes)
            rows = ((pair.image == index) & (pair.weight > 0)).nonzero()[:, 0]
            anchors, levels = pair.priors[rows], pair.level[rows]
            weight[rows] = valuable_region(
                [anchors[levels == x] for x in levels.unique()],
                boxes.to(anchors),
                self.margin,
                self.topk,
                self.reference_slip,
            )
        return weight

    def forward(
        self, student: Tensor, teacher: Tensor, weight: Tensor
    ) -> Tensor:
        """Weighted sum of :func:`ld_loss` over boxes."""
        return self.current_weight * ld_loss(
            student,
            teacher,
            temperature=self.temperature,
            weight=weight,
            reduction='sum',
        )


def valuable_region(
    levels: List[Tensor],
    boxes: Tensor,
    margin: float = 0.25,
    topk: int = 9,
    slip: bool = False,
) -> Tensor:
    r"""Overlap of the anchors that nearly are of an object, 0 elsewhere.

    Those are anchors whose distance IoU with an object is in
    :math:`[\gamma \alpha, \alpha)` (the paper's Algorithm 1). The threshold
    alpha of an object is that of ATSS: mean and standard deviation of its IoU
    with the nearest ``topk`` anchors of each level, added.

    Args:
        levels (list[Tensor]): Anchors, shape (A, 4), a level.
        boxes (Tensor): Objects, shape (G, 4).
        margin (float): Factor gamma, in [0, 1].
        topk (int): Anchors a level.
        slip (bool): ``reference_slip`` of :class:`LDLoss`.

    Returns:
        Tensor: The largest IoU with such an object, for the anchors of all
        levels, one after the other.
    """
    anchors = torch.cat(levels)
    if not len(boxes) or not len(anchors):
        return anchors.new_zeros(len(anchors))
    overlaps = box_iou(anchors, boxes)
    apart = (
        (
            (anchors[:, None, :2] + anchors[:, None, 2:])
            - (boxes[:, :2] + boxes[:, 2:])
        )
        .square()
        .sum(-1)
    )
    near = [
        x.gather(0, d.topk(min(topk, len(d)), 0, largest=False).indices)
        for x, d in zip(
            *(m.split([len(x) for x in levels]) for m in (overlaps, apart))
        )
    ]
    candidates = torch.cat(near)
    threshold = candidates.mean(0) + candidates.std(0)
    covered = overlaps
    if slip:
        sides = anchors[:, 2:] - anchors[:, :2]
        areas = sides.prod(1)[:, None]
        others = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        # Of IoU = I / (A + B - I) follows I = IoU (A + B) / (1 + IoU).
        covered = overlaps * (areas + others) / (1 + overlaps) / areas
    diou = covered - centre_distance(anchors, boxes)
    inside = (diou >= margin * threshold) & (diou < threshold)
    return (overlaps * inside).amax(1)
