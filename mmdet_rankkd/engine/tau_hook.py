"""Kendall's tau between a student and a teacher, on the validation set."""

from itertools import islice
from typing import Any, Optional

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmdet_rankkd.datasets.box_pixels import (
    PIXELS,
    box_pixels,
    in_input_pixels,
)
from mmdet_rankkd.registry import HOOKS, MODELS


@HOOKS.register_module()
class TauHook(Hook):
    """Log tau between student and teacher after each validation and test.

    Both score the same boxes or locations of the images; the mean of the
    exact tau of their class logits is logged as ``kendall_tau``. Unlike the
    figure that distillation logs in training, it is there for a student that
    trains alone too, and is taken on images held out.

    Two-stage detectors score the ground-truth boxes; dense ones the ten
    locations of each image where the teacher is surest; with ``QueryLogits``
    matched queries are compared.

    Args:
        teacher (dict): As for :class:`mmdet_rankkd.DistillDetector`.
        logits (dict, optional): The logit hook, ``RoILogits`` by default.
        max_batches (int, optional): Stop after so many batches of the set.
        boxes (str, optional): In pixels of what the ground truth is:
            ``'image'`` for the original image, ``'input'`` for the network's
            input. By default the order of the pipeline tells.

    Raises:
        ValueError: If ``boxes`` is neither.
    """

    def __init__(
        self,
        teacher: dict,
        logits: Optional[dict] = None,
        max_batches: Optional[int] = None,
        boxes: Optional[str] = None,
    ) -> None:
        if boxes is not None and boxes not in PIXELS:
            raise ValueError(f'boxes must be one of {PIXELS}, got {boxes!r}')
        self.boxes = boxes
        # Imported late: the distillers depend on this package.
        from mmdet_rankkd.distillers.teacher import teacher_from

        self.teacher = teacher_from(teacher)
        self.max_batches = max_batches
        self.logits: Any = MODELS.build(
            logits or dict(type='mmdet_rankkd.RoILogits')
        )

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Log ``val/kendall_tau``."""
        self._log(runner, runner.val_dataloader, 'val')

    def after_test_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Log ``test/kendall_tau``."""
        self._log(runner, runner.test_dataloader, 'test')

    def _log(self, runner: Any, loader: Any, name: str) -> None:
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        tau = self.measure(model, loader)
        runner.message_hub.update_scalar(f'{name}/kendall_tau', tau)
        runner.logger.info(f'kendall_tau to the teacher, {name}: {tau:.4f}')

    @torch.no_grad()
    def measure(self, model: Any, loader: Any) -> float:
        """Mean tau over the boxes or locations of a data loader."""
        from mmdet_rankkd.losses import kendall_tau

        student = getattr(model, 'student', model)
        teacher = self.teacher.build(student, self.logits)
        pixels = self.boxes
        if pixels is None and self.logits.needs_boxes:
            pixels = box_pixels(loader.dataset)
        was_training = student.training
        student.eval()
        total = torch.zeros(2, dtype=torch.float64)
        for data in islice(loader, self.max_batches):
            if pixels is not None:
                samples = in_input_pixels(data['data_samples'], pixels)
                data = dict(data, data_samples=samples)
            taus = kendall_tau(*self.logits.held_out(student, teacher, data))
            total += (
                torch.stack([taus.sum(), torch.tensor(float(len(taus)))])
                .cpu()
                .double()
            )
        student.train(was_training)
        all_reduce(total, 'sum')
        return (total[0] / total[1].clamp(min=1)).item()
