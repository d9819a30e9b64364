"""Logit hook of two-stage detectors: class logits of the student's RoIs."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence

from mmdet.models.roi_heads import StandardRoIHead
from torch import Tensor

from mmdet_rankkd.registry import MODELS

from .pair import LogitPair


@dataclass
class RoIRecord:
    """What the student's RoI head computed in one training pass.

    Attributes:
        rois (Tensor): Sampled boxes, shape (N, 5): image index, x1, y1, x2,
            y2 in pixels of the network's input.
        logits (Tensor): Class logits of the student, shape (N, C + 1).
        labels (Tensor): Target class, shape (N,); C is background.
        weight (Tensor): Label weights of the student's own loss, shape (N,).
    """

    rois: Optional[Tensor] = None
    logits: Optional[Tensor] = None
    labels: Optional[Tensor] = None
    weight: Optional[Tensor] = None


@MODELS.register_module()
class RoILogits:
    """Class logits of the boxes that the student's RoI head samples.

    The student trains as always. While it does, this hook takes note of the
    sampled boxes, their logits and their targets; the student's head does not
    run a second time. The teacher's RoI head then scores the same boxes on
    its own features. Its RPN, sampler, losses and NMS never run.

    For detectors whose ``roi_head`` is a ``StandardRoIHead`` or derived from
    it: Faster R-CNN, Mask R-CNN and kin. Not for cascades.

    Args:
        background (bool): Keep the background column, the last of C + 1.
        positives_only (bool): Keep only the RoIs assigned to an object.
    """

    def __init__(
        self, background: bool = True, positives_only: bool = False
    ) -> None:
        self.background = background
        self.positives_only = positives_only

    def check(self, student: Any, teacher: Any) -> None:
        """Raise where the two detectors cannot be compared.

        Raises:
            TypeError: If one of them has no ``StandardRoIHead``.
            ValueError: If the numbers of classes differ.
        """
        for role, model in (('student', student), ('teacher', teacher)):
            self.check_kind(role, model)
        ours, theirs = (
            m.roi_head.bbox_head.num_classes for m in (student, teacher)
        )
        if ours != theirs:
            raise ValueError(
                f'the student has {ours} classes and the teacher {theirs}; '
                'RoI logits can only be compared class by class. Train the '
                "teacher on the student's classes or set the student's "
                'num_classes (model.student.roi_head.bbox_head.num_classes).'
            )
        if not self.background and not all(
            m.roi_head.bbox_head.fc_cls.out_features == ours + 1
            for m in (student, teacher)
        ):
            raise ValueError(
                'background=False needs heads of num_classes + 1 columns, '
                'background last'
            )

    @staticmethod
    def check_kind(role: str, model: Any) -> None:
        """Raise TypeError unless the model has a ``StandardRoIHead``."""
        head = getattr(model, 'roi_head', None)
        if not isinstance(head, StandardRoIHead):
            found = f'a {type(head).__name__}' if head else 'no roi_head'
            raise TypeError(
                f'RoILogits needs a detector with a StandardRoIHead, but the '
                f'{role}, a {type(model).__name__}, has {found}. Supported '
                'are Faster R-CNN, Mask R-CNN and kin.'
            )

    @contextmanager
    def record(self, student: Any) -> Iterator[RoIRecord]:
        """Record the one training pass of the student inside the context.

        ``loss_and_target`` is where boxes, logits and targets of the pass
        meet, so it is listened to, on this one head and only meanwhile.
        """
        head = student.roi_head.bbox_head
        loss_and_target = head.loss_and_target
        record = RoIRecord()

        def listen(
            cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, *args, **kwargs
        ) -> dict:
            result = loss_and_target(
                cls_score, bbox_pred, rois, *args, **kwargs
            )
            record.rois = rois.detach()
            record.logits = cls_score
            record.labels, record.weight = result['bbox_targets'][:2]
            return result

        head.loss_and_target = listen
        try:
            yield record
        finally:
            del head.loss_and_target
        if record.logits is None:
            raise RuntimeError(
                f"the student's {type(student.roi_head).__name__} finished a "
                f'training pass without calling {type(head).__name__}.'
                'loss_and_target, so there are no logits to distil'
            )

    def replay(
        self, teacher: Any, features: Sequence[Tensor], record: RoIRecord
    ) -> LogitPair:
        """Have the teacher's RoI head score the recorded boxes.

        Args:
            teacher (nn.Module): The teacher.
            features (Sequence[Tensor]): Its features of the same images.
            record (RoIRecord): What the student did.
        """
        assert record.logits is not None and record.labels is not None
        assert record.rois is not None and record.weight is not None
        rois, logits = record.rois, record.logits
        labels, weight = record.labels, record.weight
        if self.positives_only:
            num_classes = teacher.roi_head.bbox_head.num_classes
            keep = labels < num_classes
            rois, logits = rois[keep], logits[keep]
            labels, weight = labels[keep], weight[keep]
        teacher_logits = teacher.roi_head._bbox_forward(
            features, rois.to(features[0].dtype)
        )['cls_score']
        if not self.background:
            logits, teacher_logits = logits[:, :-1], teacher_logits[:, :-1]
        return LogitPair(
            logits,
            teacher_logits,
            labels,
            weight,
            (weight > 0).sum().clamp(min=1),
        )
