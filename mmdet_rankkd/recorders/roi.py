"""Recorder of two-stage detectors: class logits of the student's RoIs."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Iterator, List, Optional, Sequence, Tuple

import torch
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.structures import DetDataSample
from torch import Tensor

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import LogitPair, Scales, mean_over_processes

from .base import FeatureMaps, LogitRecorder, Model
from .classes import ClassMap, ClassMapConfig
from .listening import listening
from .shared import (
    choose_rows,
    images_of,
    scales_of,
    shared_columns,
    teacher_images,
)


@dataclass
class RoIRecord:
    """What a box head of the student computed in one training pass.

    Attributes:
        rois (Tensor): Sampled boxes, shape (N, 5): image index, x1, y1, x2,
            y2 in pixels of the network's input.
        logits (Tensor): Class logits of the student, shape (N, C + 1).
        labels (Tensor): Target class, shape (N,); C is background.
        weight (Tensor): Label weights of the student's own loss, shape (N,).
        stage_weight (float): Factor of the student on the head's losses.
    """

    rois: Tensor
    logits: Tensor
    labels: Tensor
    weight: Tensor
    stage_weight: float


@MODELS.register_module()
class RoILogits(LogitRecorder[List[RoIRecord]]):
    """Class logits of the boxes that the student's RoI head samples.

    The student trains as always. While it does, this recorder takes note of
    the sampled boxes, their logits and their targets; the student's head does
    not run a second time. The teacher's RoI head then scores the same boxes on
    its own features. Its RPN, sampler, losses and NMS never run.

    For detectors whose ``roi_head`` is a ``StandardRoIHead`` or derived from
    it: Faster R-CNN, Mask R-CNN and kin; and for Cascade R-CNN, whose stages
    are compared one by one, each on its own boxes and with the weight that
    the student gives to its losses.

    Args:
        background (bool): Keep the background column, the last of C + 1.
        positives_only (bool): Keep only the RoIs assigned to an object.
        class_map (str or dict, optional): Compare only the classes that
            student and teacher share, and not the boxes of other objects;
            see :class:`ClassMap`.
    """

    def __init__(
        self,
        background: bool = True,
        positives_only: bool = False,
        class_map: Optional[ClassMapConfig] = None,
    ) -> None:
        self.background = background
        self.positives_only = positives_only
        self.class_map = None if class_map is None else ClassMap(class_map)

    def check(self, student: Model, teacher: Model) -> None:
        """Raise where the two detectors cannot be compared.

        Raises:
            TypeError: If one of them has no RoI head of a known kind.
            ValueError: If their stages, or the numbers of classes, differ.
        """
        for role, model in (('student', student), ('teacher', teacher)):
            self.check_kind(role, model)
        heads = [box_heads(m) for m in (student, teacher)]
        if len(heads[0]) != len(heads[1]):
            raise ValueError(
                f'the student has {len(heads[0])} box heads and the teacher '
                f'{len(heads[1])}; stages are compared one by one'
            )
        counts = [h[0].num_classes for h in heads]
        if counts[0] != counts[1] and self.class_map is None:
            raise ValueError(
                f'the student has {counts[0]} classes and the teacher '
                f'{counts[1]}; '
                'RoI logits can only be compared class by class. Train the '
                "teacher on the student's classes, set the student's "
                'num_classes (model.student.roi_head.bbox_head.num_classes), '
                "or compare the shared classes with class_map='names' on the "
                'recorder of the logits.'
            )
        if not self.background or self.class_map is not None:
            for head in heads[0] + heads[1]:
                if head.fc_cls.out_features != head.num_classes + 1:
                    raise ValueError(
                        'background=False and class_map need heads of '
                        'num_classes + 1 columns, background last'
                    )

    def columns(self, student: Model) -> int:
        """How many columns are compared."""
        head = box_heads(student)[0]
        count = head.num_classes
        if self.class_map is not None and self.class_map.student is not None:
            count = self.class_map.count
        return count + int(self.background)

    def sigmoid(self, student: Model) -> bool:
        """Whether the heads take each column by itself."""
        loss = box_heads(student)[0].loss_cls
        return getattr(loss, 'use_sigmoid', False)

    def has_background(self, student: Model) -> bool:
        """Whether the last of the columns is that of background."""
        return self.background

    def describe(self) -> str:
        """Which rows and columns count, for the log."""
        rows = 'those on objects' if self.positives_only else 'all'
        rest = 'with' if self.background else 'without'
        return (
            f"RoILogits, the student's sampled boxes, {rows}, {rest} the "
            'background column'
        )

    @staticmethod
    def check_kind(role: str, model: Model) -> None:
        """Raise TypeError unless the model has a RoI head of a known kind."""
        head = getattr(model, 'roi_head', None)
        cascade = (
            isinstance(head, CascadeRoIHead)
            and type(head)._bbox_forward is CascadeRoIHead._bbox_forward
        )
        if not cascade and not isinstance(head, StandardRoIHead):
            found = f'a {type(head).__name__}' if head else 'no roi_head'
            raise TypeError(
                f'RoILogits needs a detector with a StandardRoIHead or a '
                f'CascadeRoIHead, but the {role}, a {type(model).__name__}, '
                f'has {found}. Supported are Faster, Mask and Cascade R-CNN '
                'and kin; for single-stage detectors there is DenseLogits.'
            )

    @contextmanager
    def record(self, student: Model) -> Iterator[List[RoIRecord]]:
        """Record the one training pass of the student inside the context.

        ``loss_and_target`` is where boxes, logits and targets of the pass
        meet, so it is listened to, on these heads and only meanwhile.
        """
        heads = box_heads(student)
        weights = getattr(student.roi_head, 'stage_loss_weights', [1.0])
        stages: List[RoIRecord] = []
        with ExitStack() as context:
            for head, weight in zip(heads, weights):
                context.enter_context(
                    listening(
                        head, 'loss_and_target', partial(note, stages, weight)
                    )
                )
            yield stages
        if not stages:
            raise RuntimeError(
                f"the student's {type(student.roi_head).__name__} finished a "
                f'training pass without calling {type(heads[0]).__name__}.'
                'loss_and_target, so there are no logits to distil'
            )

    def rescaled(
        self, record: List[RoIRecord], scales: Scales
    ) -> List[RoIRecord]:
        """The same boxes in pixels of the teacher's images."""
        return [
            replace(stage, rois=scaled_rois(stage.rois, scales))
            for stage in record
        ]

    def replay(
        self,
        teacher: Model,
        features: FeatureMaps,
        record: List[RoIRecord],
    ) -> LogitPair:
        """Have the teacher's RoI head score the recorded boxes.

        The divisor of the mean over rows is that of all processes, where
        there are several.

        Args:
            teacher (nn.Module): The teacher.
            features (Sequence[Tensor]): Its features of the same images.
            record (list[RoIRecord]): What the student did, a stage each.
        """
        stages = [
            self._stage(teacher, features, stage, index)
            for index, stage in enumerate(record)
        ]
        counts = mean_over_processes(
            torch.stack([(rows[3] > 0).sum() for rows in stages]).float()
        )
        student, target, labels, own_weight = (
            torch.cat(parts) for parts in zip(*stages)
        )
        classes = box_heads(teacher)[0].num_classes
        if self.class_map is not None:
            classes = self.class_map.count
        pair = LogitPair(
            student,
            target,
            labels,
            own_weight,
            counts[0],
            foreground=(labels >= 0) & (labels < classes),
            own_weight=own_weight,
            background=self.background and student.shape[1] == classes + 1,
        )
        if len(stages) > 1:
            # The sum over stages of their weighted means, as one over rows.
            sizes = torch.tensor([len(rows[0]) for rows in stages])
            pair.stage = torch.arange(len(stages)).repeat_interleave(sizes)
            pair.stage = pair.stage.to(labels.device)
            pair.stage_weights = [stage.stage_weight for stage in record]
            factors = torch.cat(
                [
                    (stage.stage_weight / count).expand(len(rows[0]))
                    for stage, count, rows in zip(record, counts, stages)
                ]
            )
            pair.weight, pair.avg_factor = own_weight * factors, 1.0
        return pair

    def _stage(
        self,
        teacher: Model,
        features: FeatureMaps,
        record: RoIRecord,
        index: int,
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """Student and teacher logits, labels and weights of a stage."""
        rois, logits = record.rois, record.logits
        labels, weight = record.labels, record.weight
        labels, keep, _ = choose_rows(
            self.class_map, labels, logits.shape[1] - 1, self.positives_only
        )
        if keep is not None:
            rois, logits = rois[keep], logits[keep]
            labels, weight = labels[keep], weight[keep]
        target = box_logits(teacher, features, rois, index)
        logits, target = self._compared_columns(logits, target)
        return logits, target, labels, weight

    def _compared_columns(
        self, student: Tensor, teacher: Tensor
    ) -> Tuple[Tensor, Tensor]:
        student, teacher = shared_columns(
            self.class_map, student, teacher, True
        )
        if self.background:
            return student, teacher
        return student[:, :-1], teacher[:, :-1]

    @property
    def needs_boxes(self) -> bool:
        """Whether ``held_out`` needs ground truth to tell its rows."""
        return True

    def held_out(
        self, student: Model, teacher: Model, data: dict
    ) -> Tuple[Tensor, Tensor]:
        """Logits of the ground-truth boxes, for tau on a validation set.

        Args:
            student (nn.Module): The student.
            teacher (nn.Module): The teacher.
            data (dict): A batch of a validation loader; ground truth in
                pixels of the student's input.

        Returns:
            tuple[Tensor, Tensor]: Student and teacher logits in the columns
            that training compares, a row a box of a class that it compares;
            of a cascade those of the last stage.
        """
        samples = data['data_samples']
        rois = ground_truth_rois(samples)
        if self.class_map is not None:
            labels = torch.cat([s.gt_instances.labels for s in samples])
            rois = rois[self.class_map.relabel(labels) >= 0]
        images = images_of(student, data)
        own = teacher_images(teacher, data, images.shape[2:], self.input_scale)
        logits = box_logits(student, student.extract_feat(images), rois, -1)
        scales = scales_of(data)
        if scales is not None:
            rois = scaled_rois(rois, scales)
        target = box_logits(teacher, teacher.extract_feat(own), rois, -1)
        return self._compared_columns(logits, target)


def note(
    stages: List[RoIRecord],
    stage_weight: float,
    result: dict,
    cls_score: Tensor,
    bbox_pred: Tensor,
    rois: Tensor,
    *args: object,
    **kwargs: object,
) -> None:
    """Take note of a call of ``loss_and_target`` of a box head."""
    labels, weight = result['bbox_targets'][:2]
    stages.append(
        RoIRecord(rois.detach(), cls_score, labels, weight, stage_weight)
    )


def box_heads(model: Model) -> List[Model]:
    """Box heads of a two-stage detector, one a stage."""
    heads = model.roi_head.bbox_head
    return list(heads) if isinstance(heads, torch.nn.ModuleList) else [heads]


def box_logits(
    model: Model, features: FeatureMaps, rois: Tensor, stage: int
) -> Tensor:
    """Class logits of boxes by one stage of a two-stage detector."""
    rois = rois.to(features[0])
    if not isinstance(model.roi_head, CascadeRoIHead):
        return model.roi_head._bbox_forward(features, rois)['cls_score']
    stage %= len(box_heads(model))
    return model.roi_head._bbox_forward(stage, features, rois)['cls_score']


def scaled_rois(rois: Tensor, scales: Scales) -> Tensor:
    """RoIs in pixels of other images.

    Args:
        rois (Tensor): Image index, x1, y1, x2, y2, shape (N, 5).
        scales (list): Factors (width, height) of each image.

    Returns:
        Tensor: Float32 or wider, shape (N, 5).
    """
    rois = rois.to(torch.promote_types(rois.dtype, torch.float32))
    factors = rois.new_tensor([(w, h, w, h) for w, h in scales])
    images = rois[:, 0].long()
    return torch.cat([rois[:, :1], rois[:, 1:] * factors[images]], 1)


def ground_truth_rois(samples: Sequence[DetDataSample]) -> Tensor:
    """Ground-truth boxes, in pixels of the network's input, as RoIs (N, 5)."""
    rois = []
    for index, sample in enumerate(samples):
        boxes = sample.gt_instances.bboxes
        boxes = getattr(boxes, 'tensor', boxes)
        rois.append(
            torch.cat([boxes.new_full((len(boxes), 1), index), boxes], 1)
        )
    return torch.cat(rois)
