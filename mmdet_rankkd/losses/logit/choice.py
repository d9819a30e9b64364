"""Which rows and columns of a pair of logits a loss compares."""

from dataclasses import replace
from typing import Optional, Union

import torch
from torch import Tensor

from mmdet_rankkd.structures import (
    LogitPair,
    NoGroundTruth,
    confidence,
    mean_over_processes,
)

ROWS = ('all', 'foreground', 'confidence', 'per_object')


def check_choice(rows: Optional[str], background: Optional[bool]) -> None:
    """Raise ValueError for settings outside the documented ones."""
    if rows is not None and rows not in ROWS:
        raise ValueError(f'rows must be one of {ROWS} or None, got {rows!r}')
    if background not in (None, True, False):
        raise ValueError(
            f'background must be True, False or None, got {background!r}'
        )


def choose(
    pair: LogitPair, rows: Optional[str], background: Optional[bool], who: str
) -> LogitPair:
    r"""The rows and columns of a pair that a loss chose, with their weights.

    The loss is then :math:`\sum_n w_n L_n / Z`. With ``own_weight`` v of the
    student's own loss, w is v for ``'all'`` rows and for ``'per_object'``, v
    on the rows of an object and nothing elsewhere for ``'foreground'``, and v
    times the teacher's confidence that there is an object for
    ``'confidence'``. Z is the number of rows with a weight; for
    ``'confidence'`` the sum of the weights, and for ``'per_object'`` the
    number of rows of an object, at least 1, as dense detectors divide their
    own loss. In each case it is the mean over the processes. The stages of a
    cascade have a mean each, which are added with the weights of the stages.
    Of no row, the loss is zero and attached to the graph.

    Args:
        pair (LogitPair): As a recorder gives it.
        rows (str, optional): One of the above; None for the recorder's own
            choice of rows.
        background (bool, optional): Whether to keep the background column;
            None for the recorder's choice.
        who (str): The loss, for the message.

    Returns:
        LogitPair: With ``weight`` and ``avg_factor`` as said; the pair itself
        where nothing was chosen.

    Raises:
        ValueError: If the background column is asked for and the recorder
            leaves it out.
        NoGroundTruth: If rows of objects are asked for, and the images have
            no annotations.
    """
    if background and not pair.background:
        raise ValueError(
            f'{who} has background=True, but there is no background column: '
            'the head has none (sigmoid), or the recorder leaves it out '
            '(background=False)'
        )
    of_objects = rows in ('foreground', 'per_object')
    if of_objects and not pair.labelled and pair.foreground is None:
        raise NoGroundTruth(f'{who} has rows={rows!r}')
    if rows is not None:
        pair = _with_rows(pair, rows)
    if background is False and pair.background:
        pair = replace(
            pair,
            student=pair.student[:, :-1],
            teacher=pair.teacher[:, :-1],
            background=False,
        )
    return pair


def _with_rows(pair: LogitPair, rows: str) -> LogitPair:
    student, teacher = pair.student, pair.teacher
    labels, stage = pair.labels, pair.stage
    weight = pair.own_weight
    if weight is None:
        weight = torch.ones(len(teacher), device=teacher.device)
    if rows == 'foreground' and pair.foreground is not None:
        keep = pair.foreground
        student, teacher, weight = student[keep], teacher[keep], weight[keep]
        labels = None if labels is None else labels[keep]
        stage = None if stage is None else stage[keep]
    amount = (weight > 0).float()
    if rows == 'confidence':
        weight = weight * confidence(teacher, pair.background)
        amount = weight
    elif rows == 'per_object' and pair.foreground is not None:
        amount = pair.foreground.float()
    divisors = _divisors(amount, stage, len(pair.stage_weights))
    if rows == 'per_object':
        divisors = divisors.clamp(min=1)
    avg_factor: Union[float, Tensor] = divisors[0]
    if stage is not None:
        factors = divisors.new_tensor(pair.stage_weights) / divisors
        weight, avg_factor = weight * factors[stage], 1.0
    return replace(
        pair,
        student=student,
        teacher=teacher,
        labels=labels,
        stage=stage,
        weight=weight,
        avg_factor=avg_factor,
    )


def _divisors(amount: Tensor, stage: Optional[Tensor], count: int) -> Tensor:
    """Divisor of each stage, shape (stages,)."""
    if stage is None:
        return mean_over_processes(amount.sum()[None])
    totals = amount.new_zeros(count).index_add(0, stage, amount)
    return mean_over_processes(totals)
