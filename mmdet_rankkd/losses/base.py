"""What the losses share: checks, dtype, reduction, schedule, module shells."""

import logging
import math
import numbers
from difflib import get_close_matches
from functools import wraps
from typing import Any, Callable, Optional, Sequence, Tuple, TypeVar, Union

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

REDUCTIONS = ('none', 'mean', 'sum')
VIEWS = ('weak', 'strong', 'both')
Loss = TypeVar('Loss', bound=Callable[..., Tensor])


def without_autocast(loss: Loss) -> Loss:
    """Evaluate a loss outside of autocast, in the dtype that it chose itself.

    Autocast would take its matrix products in half precision, whatever the
    dtype of their factors.

    Args:
        loss (Callable): A function of tensors; of what comes first, a tensor
            or a sequence of them, the device is taken.
    """

    @wraps(loss)
    def wrapper(
        student: Union[Tensor, Sequence[Tensor]], *args: Any, **kwargs: Any
    ) -> Tensor:
        first = student if isinstance(student, Tensor) else student[0]
        with torch.autocast(first.device.type, enabled=False):
            return loss(student, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


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
        TypeError: If one of the two is not of a floating point dtype.
    """
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
        ValueError: If they are missing, of another length or outside [0, C),
            or if C < 2.
    """
    rows, classes = logits.shape
    if labels is None:
        raise ValueError(f'{who} needs labels: the target class of each row')
    if labels.shape != (rows,):
        raise ValueError(
            f'{who} needs one label per row, ({rows},), got '
            f'{tuple(labels.shape)}'
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


def is_number(value: object) -> bool:
    """Whether a setting is a number, and not a truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


class Schedule:
    """Factor on a loss over the training.

    Zero before ``begin`` and from ``end`` on; after ``begin`` it rises in
    ``warmup`` equal steps, the first of them above zero, to 1.

    Args:
        begin (int): First epoch (or iteration) with the loss, from 0.
        end (int, optional): First one without it again.
        warmup (int): Steps of the rise; 0 for none.
        by_epoch (bool): Count epochs rather than iterations.

    Raises:
        ValueError: If the numbers are not in that order.
    """

    def __init__(
        self,
        begin: int = 0,
        end: Optional[int] = None,
        warmup: int = 0,
        by_epoch: bool = True,
    ) -> None:
        settings = dict(begin=begin, end=end, warmup=warmup)
        for name, value in settings.items():
            if value is not None and not is_number(value):
                raise TypeError(
                    f'{name} of a schedule must be a number, got {value!r}'
                )
        if begin < 0 or warmup < 0 or (end is not None and end <= begin):
            raise ValueError(
                'a schedule needs 0 <= begin < end and warmup >= 0, got '
                f'begin={begin}, end={end}, warmup={warmup}'
            )
        self.begin = begin
        self.end = math.inf if end is None else end
        self.warmup = warmup
        self.by_epoch = by_epoch

    def __str__(self) -> str:
        unit = 'epoch' if self.by_epoch else 'iteration'
        text = f'from {unit} {self.begin} on'
        if self.end < math.inf:
            text += f', off again from {unit} {self.end}'
        return text + (f', warm-up of {self.warmup}' if self.warmup else '')

    def factor(self, epoch: int, iteration: int) -> float:
        """Factor at this epoch and iteration, both from 0."""
        now = epoch if self.by_epoch else iteration
        if not self.begin <= now < self.end:
            return 0.0
        return min(1.0, (now - self.begin + 1) / max(self.warmup, 1))


def build_schedule(schedule: dict) -> Schedule:
    """Build a :class:`Schedule` of its arguments.

    Raises:
        TypeError: If it has no such argument; the message names those it has.
    """
    known = ('begin', 'end', 'warmup', 'by_epoch')
    for name in schedule:
        if name not in known:
            raise TypeError(
                f'a schedule has no argument {name!r}'
                f'{did_you_mean(name, known)}; it has {", ".join(known)}'
            )
    return Schedule(**schedule)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The nearest of the known names in brackets, or nothing."""
    near = get_close_matches(name, known, 1)
    return f' (did you mean {near[0]!r}?)' if near else ''


class DistillLoss(nn.Module):
    """What all registered losses share: weight, name and schedule.

    Args:
        loss_weight (float): Factor on the result, at least 0. A loss of
            weight 0 is left out by the distillers, and with no loss left, so
            is the teacher.
        loss_name (str, optional): Name in the log. Must contain ``loss``, or
            MMEngine would not back-propagate it. Defaults to the class's.
        schedule (dict, optional): Arguments of :class:`Schedule`, a factor
            on ``loss_weight`` that rises or ends in the course of training.

    Raises:
        TypeError: If the weight is not a number, or the schedule no dict.
        ValueError: If the name has no ``loss`` in it, or the weight is
            negative or not finite.
    """

    loss_name = 'loss_distill'

    def __init__(
        self,
        loss_weight: float = 1.0,
        loss_name: Optional[str] = None,
        schedule: Optional[dict] = None,
    ) -> None:
        super().__init__()
        if loss_name is not None:
            if 'loss' not in loss_name:
                raise ValueError(
                    f'loss_name {loss_name!r} must contain "loss": MMEngine '
                    'only back-propagates what is named so'
                )
            self.loss_name = loss_name
        who = type(self).__name__
        if not is_number(loss_weight):
            raise TypeError(
                f'loss_weight of {who} must be a number, got {loss_weight!r}'
            )
        if not 0 <= loss_weight < math.inf:
            raise ValueError(
                f'loss_weight of {who} must be finite and at least 0, got '
                f'{loss_weight}'
            )
        if schedule is not None and not isinstance(schedule, dict):
            raise TypeError(
                f'schedule of {who} must be a dict of begin, end, warmup and '
                f'by_epoch, got {schedule!r}'
            )
        self.loss_weight = loss_weight
        self.schedule = build_schedule(schedule) if schedule else None
        self.factor = 1.0

    def check(self, columns: Optional[int], sigmoid: Optional[bool]) -> None:
        """Say before training what will not do, in one line each.

        Called once, when student and teacher are built.

        Args:
            columns (int, optional): Columns of the logits that are compared;
                None where that is not known.
            sigmoid (bool, optional): Whether the heads take each column by
                itself (sigmoid) and not all together (softmax).
        """

    def idle(self) -> Optional[Tensor]:
        """Zero times what the loss learns, or None if it learns nothing.

        Added while the loss is off, so that no parameter is ever without a
        gradient: DistributedDataParallel waits for each of them.
        """
        learned = [p.sum() for p in self.parameters() if p.requires_grad]
        return 0 * torch.stack(learned).sum() if learned else None

    def set_progress(self, epoch: int, iteration: int) -> None:
        """Tell the loss how far the training is, both counted from 0."""
        if self.schedule is not None:
            self.factor = self.schedule.factor(epoch, iteration)

    @property
    def current_weight(self) -> float:
        """Weight of the loss at this point of the training."""
        return self.loss_weight * self.factor

    @property
    def active(self) -> bool:
        """Whether the loss counts now."""
        return self.current_weight != 0


class LogitLoss(DistillLoss):
    """Shell of the losses of logits.

    Subclasses implement :meth:`rows`.

    Args:
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'``.
        view (str): Where images come in two views: ``'weak'``, ``'strong'``,
            or ``'both'`` for the sum over the two.
        **kwargs (Any): Those of :class:`DistillLoss`.

    Raises:
        ValueError: If a setting is not one of the above.
    """

    #: Whether it takes both views in one call, the second as ``strong``.
    joins_views = False
    #: Whether it is for heads that take each column by itself (sigmoid) or
    #: all together (softmax); None for both.
    sigmoid: Optional[bool] = False

    def __init__(
        self, reduction: str = 'mean', view: str = 'weak', **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if reduction not in REDUCTIONS:
            raise ValueError(
                f'reduction must be one of {REDUCTIONS}, got {reduction!r}'
            )
        if view not in VIEWS:
            raise ValueError(f'view must be one of {VIEWS}, got {view!r}')
        self.reduction = reduction
        self.view = view

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
            reduction_override (str, optional): In place of ``reduction``.
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
            ``'mean'``.

    Raises:
        ValueError: If it is not.
    """

    # Said of weighted rows, which come from boxes and not from images.
    refusal = 'weighted rows are no batch whose relations mean anything'

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._check_reduction(self.reduction)

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
