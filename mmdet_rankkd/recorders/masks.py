"""Recorder of two-stage detectors: mask logits of the student's RoIs."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Iterator, List, Optional, Sequence, Tuple

import torch
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import LogitPair, Scales

from .base import FeatureMaps, Model, Recorder
from .classes import ClassMap
from .listening import listening
from .roi import RoILogits, scaled_rois


@dataclass
class MaskRecord:
    """What a mask head of the student computed in one training pass.

    Attributes:
        rois (Tensor): Boxes assigned to objects, shape (P, 5): image index,
            x1, y1, x2, y2 in pixels of the network's input.
        logits (Tensor): Mask logits, shape (P, C, H, W).
        labels (Tensor): Class of each box, shape (P,), long.
        stage_weight (float): Factor of the student on the head's losses.
    """

    rois: Tensor
    logits: Tensor
    labels: Tensor
    stage_weight: float


@MODELS.register_module()
class MaskLogits(Recorder[List[MaskRecord], LogitPair]):
    """Mask logits of the boxes that the student's sampler gave to objects.

    The student trains as always. The teacher's mask head predicts masks of
    the same boxes on its own features; of each, the mask of the box's class
    is compared. For Mask R-CNN, Cascade Mask R-CNN and kin; the stages of a
    cascade are compared one by one, with the weights of the student.

    Args:
        class_map (ClassMap, optional): That of the logits: boxes of classes
            that are not shared are left out, and of the others the teacher's
            mask is that of its own class.
    """

    def __init__(self, class_map: Optional[ClassMap] = None) -> None:
        self.class_map = class_map

    def check(self, student: Model, teacher: Model) -> None:
        """Raise where the two detectors cannot be compared.

        Raises:
            TypeError: If one of them has no mask head of a known kind.
            ValueError: If their stages, the numbers of classes or the sizes
                of their masks differ.
        """
        for role, model in (('student', student), ('teacher', teacher)):
            RoILogits.check_kind(role, model)
            if not model.roi_head.with_mask:
                raise TypeError(
                    'MaskLogits (of MaskKDLoss) needs a detector with a mask '
                    f'head, as Mask R-CNN, but the {role} has none'
                )
        heads = [mask_heads(m) for m in (student, teacher)]
        if len(heads[0]) != len(heads[1]):
            raise ValueError(
                f'the student has {len(heads[0])} mask heads and the teacher '
                f'{len(heads[1])}; stages are compared one by one'
            )
        for stage, pair in enumerate(zip(*heads)):
            counts = [h.num_classes for h in pair if not h.class_agnostic]
            if len(set(counts)) > 1 and self.class_map is None:
                raise ValueError(
                    f'the student has masks of {counts[0]} classes and the '
                    f'teacher of {counts[1]}; masks are compared class by '
                    "class. Set class_map='names' on the recorder of the "
                    'logits to compare the classes that they share.'
                )
            sizes = [mask_size(m, stage) for m in (student, teacher)]
            if sizes[0] != sizes[1]:
                raise ValueError(
                    f'the masks of the student are of {sizes[0]} pixels and '
                    f"the teacher's of {sizes[1]}; give both the same "
                    'roi_layer.output_size of mask_roi_extractor'
                )

    @contextmanager
    def record(self, student: Model) -> Iterator[List[MaskRecord]]:
        """Record the one training pass of the student in the context.

        Raises:
            RuntimeError: If no mask head ran.
        """
        heads = mask_heads(student)
        weights = getattr(student.roi_head, 'stage_loss_weights', [1.0])
        stages: List[MaskRecord] = []
        with ExitStack() as context:
            for head, weight in zip(heads, weights):
                found = partial(note, stages, weight)
                context.enter_context(
                    listening(head, 'loss_and_target', found)
                )
            yield stages
        if not stages:
            raise RuntimeError(
                f"the student's {type(heads[0]).__name__} did not run in a "
                'training pass, so there are no masks to distil'
            )

    def rescaled(
        self, record: List[MaskRecord], scales: Scales
    ) -> List[MaskRecord]:
        """The same boxes in pixels of the teacher's images."""
        return [
            replace(stage, rois=scaled_rois(stage.rois, scales))
            for stage in record
        ]

    def replay(
        self,
        teacher: Model,
        features: FeatureMaps,
        record: List[MaskRecord],
    ) -> LogitPair:
        """Have the teacher's mask heads score the recorded boxes.

        Args:
            teacher (nn.Module): The teacher.
            features (Sequence[Tensor]): Its features of the same images.
            record (list[MaskRecord]): What the student did, a stage each.

        Returns:
            LogitPair: A row a box, a column a pixel of its mask.
        """
        shared = [self.shared(x) for x in record]
        record = [x for x, _ in shared]
        counts = [max(len(stage.rois), 1) for stage in record]
        student = torch.cat([own_mask(x.logits, x.labels) for x in record])
        target = torch.cat(
            [
                own_mask(mask_logits(teacher, features, x.rois, i), labels)
                for i, (x, labels) in enumerate(shared)
            ]
        )
        pair = LogitPair(
            student,
            target,
            torch.cat([x.labels for x in record]),
            avg_factor=float(counts[0]),
        )
        if len(record) > 1:
            # The sum over stages of their weighted means, as one over rows.
            factors = [
                torch.full((len(x.rois),), x.stage_weight / count)
                for x, count in zip(record, counts)
            ]
            pair.weight = torch.cat(factors).to(student.device)
            pair.avg_factor = 1.0
        return pair

    def shared(self, stage: MaskRecord) -> Tuple[MaskRecord, Tensor]:
        """The boxes of shared classes, and the teacher's class of each."""
        if self.class_map is None:
            return stage, stage.labels
        columns = self.class_map.relabel(stage.labels)
        keep = columns >= 0
        kept = replace(
            stage,
            rois=stage.rois[keep],
            logits=stage.logits[keep],
            labels=stage.labels[keep],
        )
        return kept, self.class_map.to_teacher(columns[keep])


def note(
    stages: List[MaskRecord],
    stage_weight: float,
    result: dict,
    mask_preds: Tensor,
    sampling_results: Sequence[SamplingResult],
    *args: object,
    **kwargs: object,
) -> None:
    """Take note of a call of ``loss_and_target`` of a mask head."""
    rois = []
    for index, sampled in enumerate(sampling_results):
        boxes = getattr(sampled.pos_priors, 'tensor', sampled.pos_priors)
        image = boxes.new_full((len(boxes), 1), index)
        rois.append(torch.cat([image, boxes], 1).detach())
    labels = torch.cat([x.pos_gt_labels for x in sampling_results])
    record = MaskRecord(torch.cat(rois), mask_preds, labels, stage_weight)
    stages.append(record)


def mask_heads(model: Model) -> List[Model]:
    """Mask heads of a two-stage detector, one a stage."""
    heads = model.roi_head.mask_head
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


@torch.no_grad()
def mask_size(model: Model, stage: int) -> Tuple[int, ...]:
    """Height and width of the masks of a stage."""
    roi_head = model.roi_head
    extractor = roi_head.mask_roi_extractor
    if isinstance(extractor, nn.ModuleList):
        extractor = extractor[stage]
    head = mask_heads(model)[stage]
    size = extractor.roi_layers[0].output_size
    weight = next(head.parameters())
    x = weight.new_zeros(1, extractor.out_channels, *size)
    training = roi_head.training
    roi_head.eval()
    if roi_head.with_shared_head:
        x = roi_head.shared_head(x)
    masks = head(x)
    roi_head.train(training)
    return tuple(masks.shape[2:])


def mask_logits(
    model: Model, features: FeatureMaps, rois: Tensor, stage: int
) -> Tensor:
    """Mask logits of boxes by one stage, shape (P, C, H, W)."""
    rois = rois.to(features[0])
    if not isinstance(model.roi_head, CascadeRoIHead):
        return model.roi_head._mask_forward(features, rois)['mask_preds']
    return model.roi_head._mask_forward(stage, features, rois)['mask_preds']


def own_mask(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each box the mask of its class, flat.

    Args:
        logits (Tensor): Shape (P, C, H, W), or (P, 1, H, W) of a head that
            has one mask for all classes.
        labels (Tensor): Shape (P,).

    Returns:
        Tensor: Shape (P, H * W).
    """
    column = labels if logits.shape[1] > 1 else torch.zeros_like(labels)
    rows = torch.arange(len(labels), device=labels.device)
    return logits[rows, column].flatten(1)
