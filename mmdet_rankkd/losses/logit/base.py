"""What losses of logits share: checks, dtype, reduction, module shells."""

import logging
from typing import Any, Optional, Tuple

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmdet_rankkd.structures import (
    DistillBatch,
    LogitPair,
    NoGroundTruth,
    Probe,
)

from ..base import DistillLoss
from .choice import check_choice, choose

REDUCTIONS = ('none', 'mean', 'sum')
VIEWS = ('weak', 'strong', 'both')


def prepare_pair(student: Tensor, teacher: Tensor) -> Tuple[Tensor, Tensor]:
    """Check two logit tensors and bring them to the dtype of the arithmetic.

    Args:
        student (Tensor): Shape (N, C).
        teacher (Tensor): Shape (N, C); it is detached.

    Returns:
        tuple[Tensor, Tensor]: Both in float32, or in float64 where the
        student is float64.

    Raises:
        ValueError: If the shapes differ or are not (N, C).
        TypeError: If one of the two is no tensor of a floating point dtype.
    """
    if not isinstance(teacher, Tensor):
        raise TypeError(
            f'teacher logits must be a tensor, got {type(teacher).__name__}'
        )
    if student.ndim != 2 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher logits must share one shape (N, C), but '
            f'the student has {tuple(student.shape)} and the teacher '
            f'{tuple(teacher.shape)}. Rows must describe the same things '
            '(boxes, images) and columns the same classes.'
        )
    for name, logits in (('student', student), ('teacher', teacher)):
        if not logits.is_floating_point():
            raise TypeError(
                f'{name} logits must be floating point, got {logits.dtype}'
            )
    dtype = torch.promote_types(student.dtype, torch.float32)
    return student.to(dtype), teacher.detach().to(dtype)


def reduce_rows(
    rows: Tensor,
    weight: Optional[Tensor] = None,
    avg_factor: Optional[float] = None,
    reduction: str = 'mean',
) -> Tensor:
    """Reduce a loss per row, with MMDetection's meaning of the arguments.

    Args:
        rows (Tensor): Loss of each row, shape (N,).
        weight (Tensor, optional): Weight of each row, shape (N,).
        avg_factor (float, optional): Divisor in place of N; only with
            ``reduction='mean'`` (and ignored with ``'none'``).
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'``. The mean of no
            rows is zero and attached to the graph.

    Raises:
        ValueError: If an argument is not one of the above.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(
            f'reduction must be one of {REDUCTIONS}, got {reduction!r}'
        )
    if weight is not None:
        if weight.shape != rows.shape:
            raise ValueError(
                f'weight must have one entry per row, {tuple(rows.shape)}, '
                f'got {tuple(weight.shape)}'
            )
        rows = rows * weight.to(rows.dtype)
    if reduction == 'none':
        return rows
    if reduction == 'sum':
        if avg_factor is not None:
            raise ValueError('avg_factor cannot be used with reduction="sum"')
        return rows.sum()
    return rows.sum() / (
        max(len(rows), 1) if avg_factor is None else avg_factor
    )


def check_labels(labels: Optional[Tensor], logits: Tensor, who: str) -> Tensor:
    """Return the target classes of a loss that needs them, checked.

    Raises:
        NoGroundTruth: If they are missing.
        ValueError: If they are of another length, no whole numbers
            or outside [0, C),
            or if C < 2.
    """
    rows, classes = logits.shape
    if labels is None:
        raise NoGroundTruth(
            f'{who} needs labels: the target class of each row'
        )
    if labels.shape != (rows,):
        raise ValueError(
            f'{who} needs one label per row, ({rows},), got '
            f'{tuple(labels.shape)}'
        )
    if labels.dtype not in (torch.int64, torch.int32):
        raise ValueError(
            f'{who} needs labels that are whole numbers, got {labels.dtype}'
        )
    if classes < 2:
        raise ValueError(f'{who} needs at least 2 classes, got {classes}')
    if rows and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f'{who}: labels must be in [0, {classes}), got '
            f'{int(labels.min())} to {int(labels.max())}. Rows of the '
            'background class need its column (RoILogits(background=True)).'
        )
    return labels


class LogitLoss(DistillLoss):
    """Shell of the losses of logits.

    Subclasses implement :meth:`rows`.

    Args:
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'``.
        view (str): Where images come in two views: ``'weak'``, ``'strong'``,
            or ``'both'`` for the sum over the two.
        rows (str, optional): Rows that count in a distillation: ``'all'``;
            those of an object (``'foreground'``); all, weighted by the
            teacher's ``'confidence'`` that there is an object; or all,
            divided by the number of those of an object (``'per_object'``).
            By default what the recorder is set to. See :func:`choose`.
        background (bool, optional): Whether the background column counts, if
            there is one; by default what the recorder is set to.
        **kwargs (Any): Those of :class:`DistillLoss`.

    Raises:
        ValueError: If a setting is not one of the above.
    """

    #: Whether it is for heads that take each column by itself (sigmoid) or
    #: all together (softmax); None for both.
    sigmoid: Optional[bool] = False

    def __init__(
        self,
        reduction: str = 'mean',
        view: str = 'weak',
        rows: Optional[str] = None,
        background: Optional[bool] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice(rows, background)
        self.chosen_rows = rows
        self.background = background
        if reduction not in REDUCTIONS:
            raise ValueError(
                f'reduction must be one of {REDUCTIONS}, got {reduction!r}'
            )
        if view not in VIEWS:
            raise ValueError(f'view must be one of {VIEWS}, got {view!r}')
        self.reduction = reduction
        self.view = view

    def attach(self, probe: Probe) -> None:
        """Have class logits recorded."""
        probe.class_logits(type(self).__name__)

    def check(self, columns: Optional[int], sigmoid: Optional[bool]) -> None:
        """Warn of logits of another kind than the loss is for."""
        if None in (sigmoid, self.sigmoid) or sigmoid == self.sigmoid:
            return
        kinds = ('softmax', 'sigmoid')
        print_log(
            f'{type(self).__name__} is for heads that use the '
            f'{kinds[bool(self.sigmoid)]}, but these use the '
            f'{kinds[bool(sigmoid)]}, so that it compares distributions which '
            'the detectors do not predict. '
            + (
                'BinaryKLDivLoss is the form of KD for them.'
                if sigmoid
                else 'KLDivLoss is the form of KD for them.'
            ),
            'current',
            logging.WARNING,
        )

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of the views that the loss is told to take.

        Raises:
            ValueError: If it is told to take a second view that the data do
                not have.
        """
        if self.view == 'weak':
            return self.of_pair(batch.logits)
        strong = batch.second_view(type(self).__name__)
        if self.view == 'strong':
            return self.of_pair(strong)
        return self.of_pair(batch.logits) + self.of_pair(strong)

    def of_pair(self, pair: LogitPair) -> Tensor:
        """Weighted loss of the chosen rows and columns of one view."""
        who = type(self).__name__
        pair = choose(pair, self.chosen_rows, self.background, who)
        return self(
            pair.student,
            pair.teacher,
            weight=pair.weight,
            avg_factor=pair.avg_factor,
            labels=pair.labels,
        )

    def rows(
        self, student: Tensor, teacher: Tensor, labels: Optional[Tensor]
    ) -> Tensor:
        """Loss of each row, shape (N,)."""
        raise NotImplementedError

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        weight: Optional[Tensor] = None,
        avg_factor: Optional[float] = None,
        reduction_override: Optional[str] = None,
        labels: Optional[Tensor] = None,
    ) -> Tensor:
        """Weighted and reduced loss.

        Args:
            student (Tensor): Logits, shape (N, C).
            teacher (Tensor): Logits of the same things, shape (N, C).
            weight (Tensor, optional): Weight of each row, shape (N,).
            avg_factor (float, optional): Divisor of the mean.
            reduction_override (str, optional): Reduction in place of
                ``reduction``.
            labels (Tensor, optional): Class of each row, shape (N,); used by
                the losses that need it.
        """
        reduction = reduction_override or self.reduction
        rows = self.rows(student, teacher, labels)
        return self.current_weight * reduce_rows(
            rows, weight, avg_factor, reduction
        )


class BatchLoss(LogitLoss):
    """Shell of the losses that compare the rows of a batch with each other.

    They have no loss of a row, so none that could be weighed or reduced in
    another way than by the loss itself.

    Args:
        **kwargs (Any): Those of :class:`LogitLoss`; ``reduction`` can only be
            ``'mean'``, and ``rows`` only None.

    Raises:
        ValueError: If they are not.
    """

    # Said of weighted rows, which come from boxes and not from images.
    refusal = 'weighted rows are no batch whose relations mean anything'

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._check_reduction(self.reduction)
        if self.chosen_rows is not None:
            raise ValueError(
                f'{type(self).__name__} is a loss of a batch, and has no rows '
                f'to choose from: rows={self.chosen_rows!r}'
            )

    def _check_reduction(self, reduction: str) -> None:
        if reduction != 'mean':
            raise ValueError(
                f'{type(self).__name__} is a loss of a batch, not of rows: '
                f"reduction must be 'mean', got {reduction!r}"
            )

    def batch(self, student: Tensor, teacher: Tensor, **views: Any) -> Tensor:
        """The loss of a batch, a scalar."""
        raise NotImplementedError

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        weight: Optional[Tensor] = None,
        avg_factor: Optional[float] = None,
        reduction_override: Optional[str] = None,
        labels: Optional[Tensor] = None,
        **views: Any,
    ) -> Tensor:
        """Weighted loss of a batch; the labels are not used.

        Raises:
            ValueError: If rows come with weights or a divisor, or if another
                reduction than the mean is asked for.
        """
        if weight is not None or avg_factor is not None:
            raise ValueError(
                f'{type(self).__name__} cannot weigh the rows of a batch: '
                + self.refusal
            )
        self._check_reduction(reduction_override or self.reduction)
        return self.current_weight * self.batch(student, teacher, **views)
