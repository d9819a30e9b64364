"""What every logit loss shares: checks, dtype, reduction, module shell."""

from typing import Optional, Tuple

import torch
from torch import Tensor, nn

REDUCTIONS = ('none', 'mean', 'sum')


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


class LogitLoss(nn.Module):
    """Shell of the registered losses: weight, reduction and name.

    Subclasses implement :meth:`rows`.

    Args:
        loss_weight (float): Factor on the result. At 0 the distillers do not
            evaluate the loss, and with no loss left, nor the teacher.
        reduction (str): ``'none'``, ``'mean'`` or ``'sum'``.
        loss_name (str, optional): Name in the log. Must contain ``loss``, or
            MMEngine would not back-propagate it. Defaults to the class's.
    """

    loss_name = 'loss_distill'

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
        loss_name: Optional[str] = None,
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(
                f'reduction must be one of {REDUCTIONS}, got {reduction!r}'
            )
        if loss_name is not None:
            if 'loss' not in loss_name:
                raise ValueError(
                    f'loss_name {loss_name!r} must contain "loss": MMEngine '
                    'only back-propagates what is named so'
                )
            self.loss_name = loss_name
        self.loss_weight = loss_weight
        self.reduction = reduction

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
        return self.loss_weight * reduce_rows(
            rows, weight, avg_factor, reduction
        )
