"""What a distiller looks at once, in the first step of a training."""

import copy
from typing import Any, Mapping

import torch
from mmengine.logging import MessageHub

from mmdet_rankkd.losses import DistillLoss
from mmdet_rankkd.structures import DistillBatch

from .common import own_random_numbers
from .report import warn

#: Entry of MMEngine's message hub, which it saves and restores.
RESUMED = 'distillation_losses'


def begin(
    losses: Mapping[str, DistillLoss],
    students: Mapping[str, Any],
    batch: DistillBatch,
) -> None:
    """Show the first batch to the losses that begin later; compare names.

    What they would raise then, they raise now. Their values are dropped, and
    neither they nor the random numbers of the training change.

    Args:
        losses (Mapping): The distiller's, by name.
        students (Mapping): The student's own, by name.
        batch (DistillBatch): Batch of the first step.

    Raises:
        ValueError: If the student has a loss of one of their names.
    """
    for name in losses:
        if name in students:
            raise ValueError(
                f'the student has a loss named {name!r} already; give '
                'the distillation loss another loss_name'
            )
    compare_with_resumed(losses)
    late = [x for x in losses.values() if x.loss_weight and not x.active]
    with torch.no_grad(), own_random_numbers(batch.logits.student.device):
        for loss in late:
            copy.deepcopy(loss).value(batch)


def compare_with_resumed(losses: Mapping[str, DistillLoss]) -> None:
    """Say once where a resumed training goes on with other losses.

    Their names and kinds are kept in the checkpoint's message hub, which
    MMEngine restores, since its weights are those of the plain student.
    Nothing is said outside of MMEngine's training loops.
    """
    hub = MessageHub.get_current_instance()
    if 'iter' not in hub.runtime_info:
        return
    now = {name: type(loss).__name__ for name, loss in losses.items()}
    before = hub.runtime_info.get(RESUMED, now)
    hub.update_info(RESUMED, now)
    if now == before:
        return
    kinds = [
        ', '.join(f'{n} ({kind})' for n, kind in found.items()) or 'none'
        for found in (before, now)
    ]
    warn(
        'the distillation losses are not those that this training was begun '
        f'with: {kinds[0]} until here, {kinds[1]} from here on'
    )
