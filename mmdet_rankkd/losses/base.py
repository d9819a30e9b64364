"""What all losses share: autocast, weight, name, schedule, the contract."""

import logging
import math
import numbers
from abc import abstractmethod
from difflib import get_close_matches
from functools import wraps
from typing import Any, Callable, Optional, Sequence, TypeVar, Union

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmdet_rankkd.structures import DistillBatch, NoGroundTruth, Probe

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
        first = student
        if isinstance(student, (list, tuple)) and student:
            first = student[0]
        if not isinstance(first, Tensor):
            raise TypeError(
                f'{loss.__name__} compares tensors of student and teacher, '
                f'got {type(first).__name__} of the student'
            )
        with torch.autocast(first.device.type, enabled=False):
            return loss(student, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


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
        TypeError: If a setting is of another kind.
        ValueError: If a number is not finite, or they are not in that order.
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
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f'{name} of a schedule must be finite, got {value}'
                )
        if not isinstance(by_epoch, bool):
            raise TypeError(
                f'by_epoch of a schedule is True or False, got {by_epoch!r}'
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
    """What all registered losses share: weight, name, schedule, contract.

    A distiller calls :meth:`attach` when it is built, :meth:`check` and
    :meth:`teacher_is_ready` before the first step, and in each step
    :meth:`set_progress` and, where the loss counts, :meth:`value`.

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
        ValueError: If the name has no ``loss`` in it or is ``'loss'``, which
            MMEngine calls the sum of all, or if the weight is
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
            if loss_name == 'loss':
                raise ValueError(
                    "loss_name 'loss' is what MMEngine logs the sum of all "
                    "losses as; choose another one, such as 'loss_kd'"
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
        #: Whether it had to pass over images without annotations.
        self.annotated_only = False

    @abstractmethod
    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of a step, a scalar.

        Args:
            batch (DistillBatch): All that student and teacher gave; the loss
                takes from it what it compares.
        """

    def attach(self, probe: Probe) -> None:
        """Make what the loss learns, by the shapes of the two networks."""

    def teacher_is_ready(self, teacher: nn.Module) -> None:
        """Take note of the teacher's weights, once they are loaded."""

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

    def value(self, batch: DistillBatch) -> Optional[Tensor]:
        """:meth:`distill`, or :meth:`idle` on images without annotations.

        The latter if the loss needs those, which it says in the log once.

        Args:
            batch (DistillBatch): See :meth:`distill`.

        Raises:
            NoGroundTruth: If what it needs is missing in images that have
                annotations.
        """
        try:
            return self.distill(batch)
        except NoGroundTruth as error:
            if batch.logits.labelled:
                raise
            if not self.annotated_only:
                self.annotated_only = True
                fact = (
                    f'{self.loss_name}: {error}. It is taken on the images '
                    'with annotations alone'
                )
                print_log(fact, 'current', logging.WARNING)
            return self.idle()

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
