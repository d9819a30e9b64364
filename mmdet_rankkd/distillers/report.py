"""What a distiller says: before the first step, and of each step."""

import logging
from typing import List, Mapping, Optional, Protocol

from mmengine.logging import print_log
from torch import Tensor, nn

from mmdet_rankkd.losses import DistillLoss, kendall_tau
from mmdet_rankkd.recorders import LogitRecorder
from mmdet_rankkd.recorders.shared import ranking_warning
from mmdet_rankkd.structures import DistillBatch

from .teacher import Teacher


class Distiller(Protocol):
    """What is said of a distiller."""

    student: nn.Module
    teacher: Teacher
    logits: LogitRecorder
    losses: Mapping[str, DistillLoss]
    log_tau: bool


def report(distiller: Distiller) -> None:
    """Say in the log what will be distilled, and what will not do."""
    if not distiller.losses:
        warn(
            'distillation: all losses have weight 0, so the student trains '
            'alone'
        )
        return
    columns = distiller.logits.columns(distiller.student)
    sigmoid = distiller.logits.sigmoid(distiller.student)
    for loss in distiller.losses.values():
        loss.check(compared_columns(distiller, loss), sigmoid)
    unordered = ranking_warning(columns)
    if distiller.log_tau and unordered is not None:
        warn(unordered)
    print_log('\n'.join(describe(distiller)), 'current')


def compared_columns(distiller: Distiller, loss: DistillLoss) -> Optional[int]:
    """Columns that a loss compares; None where that is not known."""
    columns = distiller.logits.columns(distiller.student)
    if (
        columns is None
        or getattr(loss, 'background', None) is not False
        or not distiller.logits.has_background(distiller.student)
    ):
        return columns
    return columns - 1


def warn(fact: str) -> None:
    """Say it in the log."""
    print_log(fact, 'current', logging.WARNING)


def describe(distiller: Distiller) -> List[str]:
    """Teacher, rows, losses and what they cost in a few lines."""
    columns = distiller.logits.columns(distiller.student)
    lines = [
        f'distillation: {type(distiller.teacher.model).__name__} teaches '
        f'{type(distiller.student).__name__}',
        *(f'  {line}' for line in distiller.teacher.describe()),
        f'  rows: {distiller.logits.describe()}'
        + ('' if columns is None else f', {columns} columns'),
    ]
    for name, loss in distiller.losses.items():
        when = f', {loss.schedule}' if loss.schedule else ''
        lines.append(
            f'  {name}: {type(loss).__name__}, weight '
            f'{loss.loss_weight:g}{when}'
        )
    lines.append(f'  cost: {cost(distiller)}')
    return lines


def cost(distiller: Distiller) -> str:
    """What a step has to do beside the student's, in networks and weights.

    How long that takes, ``rankkd doctor`` measures.
    """
    student, teacher = (
        sum(p.numel() for p in model.parameters()) / 1e6
        for model in (distiller.student, distiller.teacher.model)
    )
    learned = sum(
        p.numel()
        for loss in distiller.losses.values()
        for p in loss.parameters()
        if p.requires_grad
    )
    text = (
        f'a forward pass of the teacher a step, {teacher:.2f} M weights to '
        f"the student's {student:.2f} M; the losses learn "
    )
    return text + (f'{learned / 1e6:.2f} M more' if learned else 'none')


def tau_of(batch: Optional[DistillBatch]) -> Optional[Tensor]:
    """Mean tau of the rows that count, or None without an order."""
    if batch is None:
        return None
    pair = batch.logits
    student, teacher = pair.student, pair.teacher
    if pair.tau_rows is not None:
        student, teacher = student[pair.tau_rows], teacher[pair.tau_rows]
    if student.shape[1] < 2 or not len(student):
        return None
    return kendall_tau(student, teacher).mean()
