"""Kendall's tau between a student and a teacher, on the validation set."""

import logging
from itertools import islice
from typing import Any, Dict, Iterable, Optional

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmdet_rankkd.datasets.box_pixels import (
    PIXELS,
    box_pixels,
    in_input_pixels,
    kept_random_state,
)
from mmdet_rankkd.distillers.base import BaseDistiller
from mmdet_rankkd.distillers.build import build_recorder
from mmdet_rankkd.distillers.teacher import Teacher, teacher_from
from mmdet_rankkd.losses import kendall_tau
from mmdet_rankkd.recorders import RoILogits
from mmdet_rankkd.recorders.shared import ranking_warning
from mmdet_rankkd.registry import HOOKS


@HOOKS.register_module()
class TauHook(Hook):
    """Log tau between student and teacher after each validation and test.

    Both score the same boxes or locations of the images; the mean of the
    exact tau of their class logits is logged as ``kendall_tau``. Unlike the
    figure that distillation logs in training, it is there for a student that
    trains alone too, and is taken on images held out.

    Two-stage detectors score the ground-truth boxes; dense ones the ten
    locations of each image where the teacher is most confident, or those
    of objects with ``locations='positives'``; with ``QueryLogits`` matched
    queries are compared, with ``ClsLogits`` the images.

    Teacher, recorder and data set are checked before the first step.

    Args:
        teacher (dict, optional): As for
            :class:`mmdet_rankkd.DistillDetector`. By default the teacher of
            the distillation, which is also taken where this is the same; a
            student that trains alone needs one.
        logits (dict, optional): Their recorder, by default that of the
            distillation, or ``RoILogits`` for a student that trains alone.
        max_batches (int, optional): Stop after so many batches of the set.
        boxes (str, optional): Pixels that boxes of objects are in:
            ``'image'`` for the original image, ``'input'`` for the network's
            input. By default the order of the pipeline tells.

    Raises:
        ValueError: If ``boxes`` is neither, or ``max_batches`` not positive.
    """

    def __init__(
        self,
        teacher: Optional[dict] = None,
        logits: Optional[dict] = None,
        max_batches: Optional[int] = None,
        boxes: Optional[str] = None,
    ) -> None:
        if boxes is not None and boxes not in PIXELS:
            raise ValueError(f'boxes must be one of {PIXELS}, got {boxes!r}')
        if max_batches is not None and max_batches < 1:
            raise ValueError(
                f'max_batches must be positive, got {max_batches}'
            )
        self.teacher: Optional[Teacher] = (
            None if teacher is None else teacher_from(teacher)
        )
        self.logits: Any = None if logits is None else build_recorder(logits)
        self.max_batches = max_batches
        self.boxes = boxes
        self.columns: Optional[int] = None
        self._is_ready = False

    def before_train(self, runner: Runner) -> None:
        """Check all that a validation will need."""
        if runner.val_loop is not None:
            self.prepare(unwrapped(runner.model), runner.val_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Check, where no training came first."""
        self.prepare(unwrapped(runner.model), runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Check, where no training came first."""
        self.prepare(unwrapped(runner.model), runner.test_dataloader)

    def after_val_epoch(
        self, runner: Runner, metrics: Optional[Dict[str, float]] = None
    ) -> None:
        """Log ``val/kendall_tau``."""
        self._log(runner, runner.val_dataloader, 'val')

    def after_test_epoch(
        self, runner: Runner, metrics: Optional[Dict[str, float]] = None
    ) -> None:
        """Log ``test/kendall_tau``."""
        self._log(runner, runner.test_dataloader, 'test')

    def _log(self, runner: Runner, loader: DataLoader, name: str) -> None:
        tau = self.measure(unwrapped(runner.model), loader)
        key = f'{name}/kendall_tau'
        if tau is None:
            # Else the last figure would be logged once more.
            runner.message_hub.log_scalars.pop(key, None)
            return
        runner.message_hub.update_scalar(key, tau)
        runner.logger.info(f'kendall_tau to the teacher, {name}: {tau:.4f}')

    def prepare(
        self, model: nn.Module, loader: Iterable[dict]
    ) -> Optional[str]:
        """Build the teacher and check it, the recorder and the data set.

        Args:
            model (nn.Module): The student, or what distils it.
            loader (DataLoader): That of the images held out.

        Returns:
            str, optional: In pixels of what its boxes are, ``'image'`` or
            ``'input'``; None where the recorder needs no boxes.

        Raises:
            FileNotFoundError: If the teacher is not there.
            TypeError: If the recorder is not for these models.
            ValueError: If the student trains alone and no teacher is given;
                if student and teacher do not match; if the teacher has an
                ``input_scale`` and no images of its own here; or if it cannot
                be known in pixels of what the ground-truth boxes are.
        """
        if not self._is_ready:
            self._build(model)
            self._is_ready = True
            warning = ranking_warning(self.columns)
            if warning is not None:
                warn(warning)
        dataset: Any = getattr(loader, 'dataset', loader)
        assert self.teacher is not None
        if self.teacher.input_scale not in (None, 1):
            check_teachers_images(dataset)
        if not self.logits.needs_boxes:
            return None
        return self.boxes or box_pixels(dataset)

    def _build(self, model: nn.Module) -> None:
        distiller = as_distiller(model)
        if distiller is None:
            if self.teacher is None:
                raise ValueError(
                    f'TauHook: {type(model).__name__} is no distiller whose '
                    'teacher could be taken; give the hook one with '
                    'teacher=dict(config=..., checkpoint=...)'
                )
            if self.logits is None:
                self.logits = RoILogits()
        else:
            if self.teacher is None or self.teacher.is_same(distiller.teacher):
                self.teacher = distiller.teacher
            if self.logits is None:
                self.logits = distiller.logits
        if not self.logits.offers_held_out:
            raise TypeError(
                f'TauHook needs a recorder with held_out, which '
                f'{type(self.logits).__name__} does not have'
            )
        student = student_of(model)
        if distiller is None or self.teacher is not distiller.teacher:
            self.teacher.build(student, self.logits)
        else:
            self.teacher.build(student, distiller.logits)
            if self.logits is not distiller.logits:
                self.teacher.check(student, self.logits)
        self.columns = self.logits.columns(student)

    @torch.no_grad()
    def measure(
        self, model: nn.Module, loader: Iterable[dict]
    ) -> Optional[float]:
        """Mean tau over the boxes or locations of a data loader.

        Args:
            model (nn.Module): The student, or what distils it.
            loader (DataLoader): That of the images held out.

        Returns:
            float, optional: In [-1, 1]. None, after a word in the log, where
            there is no row, none with an order (one class), or only rows with
            a NaN.

        Raises:
            ValueError: As :meth:`prepare`.
        """
        pixels = self.prepare(model, loader)
        if self.columns is not None and self.columns < 2:
            return None
        assert self.teacher is not None
        student = student_of(model)
        was_training = student.training
        student.eval()
        # Sum of taus, how many they are, and how many are NaN.
        total = torch.zeros(3, dtype=torch.float64)
        for data in islice(loader, self.max_batches):
            if pixels is not None:
                samples = in_input_pixels(data['data_samples'], pixels)
                data = dict(data, data_samples=samples)
            rows = self.logits.held_out(student, self.teacher.model, data)
            taus = kendall_tau(*rows).double().cpu()
            unknown = taus.isnan() | torch.cat(rows, 1).isnan().any(1).cpu()
            known = taus[~unknown]
            total += torch.tensor(
                [known.sum(), len(known), len(taus) - len(known)]
            )
        student.train(was_training)
        all_reduce(total, 'sum')
        tau, count, left_out = total.tolist()
        if left_out:
            warn(f'{left_out:.0f} rows have a NaN and are left out')
        if not count:
            warn('no row to compare, so kendall_tau is not logged')
            return None
        return tau / count


def check_teachers_images(dataset: Any) -> None:
    """Raise ValueError if a data set gives the teacher no images."""
    with kept_random_state():
        found = dataset[0]
    if 'teacher_inputs' not in found:
        raise ValueError(
            'TauHook: the teacher has an input_scale, and the pipeline of the '
            'images held out gives it none of its own resolution; put that '
            'into TwoResolutions too'
        )


def warn(fact: str) -> None:
    """Say it in the log."""
    print_log(f'TauHook: {fact}', 'current', logging.WARNING)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside a wrapper such as DistributedDataParallel."""
    inner = model.module if is_model_wrapper(model) else model
    assert isinstance(inner, nn.Module)
    return inner


def as_distiller(model: nn.Module) -> Optional[BaseDistiller]:
    """The model, if it distils a student, or None."""
    return model if isinstance(model, BaseDistiller) else None


def teacher_of(model: nn.Module) -> Optional[nn.Module]:
    """The teacher of a distiller, built now if it is not yet, or None."""
    distiller = as_distiller(model)
    if distiller is None or not distiller.losses:
        return None
    distiller.prepare()
    assert isinstance(distiller.teacher.model, nn.Module)
    return distiller.teacher.model


def student_of(model: nn.Module) -> nn.Module:
    """The student inside a distiller, or the model, if it trains alone."""
    distiller = as_distiller(model)
    return model if distiller is None else distiller.student
