"""Distillation of detectors."""

from dataclasses import replace
from typing import Any, Dict, Optional

from torch import Tensor

from mmdet_rankkd.compat import check_mmcv_ops
from mmdet_rankkd.registry import MODELS

from .base import BaseDistiller
from .unlabelled import (
    AnnotatedShare,
    compare_processes,
    split_images,
    without_objects,
    zeros_of,
)

check_mmcv_ops()


@MODELS.register_module()
class DistillDetector(BaseDistiller):
    """Distil a detector of MMDetection.

    Example of a config::

        _base_ = 'my_student.py'
        model = dict(
            _delete_=True,
            type='mmdet_rankkd.DistillDetector',
            student=_base_.model,
            teacher=dict(config='my_teacher.py', checkpoint='teacher.pth'),
            logits=dict(type='mmdet_rankkd.RoILogits'),
            losses=[
                dict(type='mmdet_rankkd.KLDivLoss'),
                dict(type='mmdet_rankkd.KendallRankLoss'),
            ])

    Dense detectors have ``DenseLogits`` as their recorder, detectors with
    queries ``QueryLogits``. Arguments and rules are those of
    :class:`BaseDistiller`. Feature losses see the levels of the neck. What
    else a loss compares (``LDLoss`` distributions of boxes, ``CrossKDLoss``
    maps inside the heads, ``MaskKDLoss`` masks) is recorded when it asks.

    Args:
        unlabelled (bool): Whether there are images without annotations, which
            come from a pipeline without ``LoadAnnotations``. The student's
            own losses are then those of the others alone, as if the batch had
            no more. Keep as many annotated images in a batch as the student
            trains with alone; the log warns where they are few. Each
            distillation loss is the mean over all images, of the two kinds
            one after the other, weighted by their numbers. A loss that needs
            ground truth takes the images that have it, and says so once. Of
            several processes, each has both kinds in a step, or all have the
            same one.
        **kwargs (Any): Those of :class:`BaseDistiller`.

    Raises:
        ValueError: If ``unlabelled`` is set for a student with masks, or for
            one that resizes a batch as a whole: MMDetection asks for the
            masks, or the boxes, of each image before this wrapper sees it.
    """

    FEATURES = dict(layer='neck', probe_size=128)

    def __init__(self, unlabelled: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unlabelled = unlabelled
        self.share = AnnotatedShare()
        if unlabelled and getattr(self.student, 'with_mask', False):
            raise ValueError(
                'unlabelled=True is not for detectors with masks: the data '
                'preprocessor of MMDetection asks for the masks of each '
                'image. Annotate the images by the teacher: rankkd '
                'pseudo-label'
            )
        augments = getattr(self.data_preprocessor, 'batch_augments', None)
        for augment in augments or ():
            name = type(augment).__name__
            if unlabelled and name in ('BatchSyncRandomResize', 'BatchResize'):
                raise ValueError(
                    f"unlabelled=True is not for {name}, in the student's "
                    'data_preprocessor.batch_augments, which resizes boxes of '
                    'each image. Resize in the pipeline, by RandomResize, or '
                    'annotate the images: rankkd pseudo-label'
                )

    def forward(
        self,
        inputs: Tensor,
        data_samples: Optional[list] = None,
        mode: str = 'tensor',
        teacher_inputs: Optional[Tensor] = None,
    ) -> Any:
        """As :meth:`BaseDistiller.forward`.

        Raises:
            ValueError: If images have no annotations and ``unlabelled`` is
                not set.
        """
        images = (inputs, data_samples, mode, teacher_inputs)
        if mode != 'loss' or data_samples is None:
            return super().forward(*images)
        known, blank = split_images(data_samples)
        if self.unlabelled:
            compare_processes(bool(known), bool(blank), inputs.device)
            self.share.count(len(known), len(blank))
        elif blank:
            raise ValueError(
                f'image {data_samples[blank[0]].get("img_path")} has no '
                'annotations, not even an empty list of boxes. Add '
                'LoadAnnotations to its pipeline, or let such images count '
                'for distillation only: DistillDetector(unlabelled=True)'
            )
        if not blank:
            return super().forward(*images)
        parts = []
        for rows in (known, blank):
            own = None if teacher_inputs is None else teacher_inputs[rows]
            samples = [data_samples[i] for i in rows]
            if rows:
                take = super().forward if rows is known else self._blank
                parts.append(
                    take(inputs[rows], samples, 'loss', teacher_inputs=own)
                )
        if not known:
            return parts[0]
        labelled, unlabelled = parts
        for name, loss in self.losses.items():
            if name in labelled and not loss.annotated_only:
                labelled[name] = (
                    len(known) * labelled[name] + len(blank) * unlabelled[name]
                ) / len(data_samples)
        return labelled

    def _blank(
        self,
        inputs: Tensor,
        data_samples: list,
        mode: str,
        teacher_inputs: Optional[Tensor],
    ) -> Dict[str, Any]:
        """Distillation losses of images without annotations."""
        samples = [without_objects(x, inputs.device) for x in data_samples]
        losses, batch = self.compare(inputs, samples, teacher_inputs)
        if batch is not None:
            batch.logits = replace(batch.logits, labelled=False)
            if not self.logits.labels_of_teacher:
                batch.logits.labels = batch.logits.foreground = None
        return self.add_losses(zeros_of(losses), batch)
