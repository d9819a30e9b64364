"""Recorder of dense detectors: class logits of all their locations."""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Iterator, List, Optional, Sequence, Tuple, Union

import torch
from mmdet.models.dense_heads import (
    ATSSHead,
    FCOSHead,
    GFLHead,
    RetinaHead,
    RetinaSepBNHead,
    TOODHead,
)
from mmdet.models.detectors.base_detr import DetectionTransformer
from torch import Tensor

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import (
    LogitPair,
    Scales,
    confidence,
    mean_over_processes,
)

from .base import FeatureMaps, LogitRecorder, Model
from .classes import ClassMap, ClassMapConfig
from .listening import listening
from .shared import (
    check_ran,
    check_scales,
    choose_rows,
    images_of,
    scales_of,
    shared_columns,
    teacher_images,
)

HEADS = (RetinaHead, RetinaSepBNHead, FCOSHead, ATSSHead, GFLHead)
LOCATIONS = ('all', 'positives', 'teacher')
Grid = Tuple[int, int, int]


@dataclass
class DenseRecord:
    """What the student's dense head computed in one training pass.

    Attributes:
        logits (list[Tensor]): A level each, shape (B, A * C, H, W).
        boxes (list[Tensor]): Boxes as the head gives them, a level each,
            shape (B, A * K, H, W).
        labels (list[Tensor]): Assigned classes in the order of
            :func:`flatten`, in one part or one a level; C is background.
        weights (list[Tensor]): Weights of the labels, in the same parts;
            none where the student's loss has none.
        teacher (list): Logits and boxes of the teacher's head, likewise.
        strides (list[int]): Pixels between the places of each level.
        scale (int): How many times the student's pixels a side the teacher's
            images have.
        first (int): The teacher's level with the places of the first.
    """

    logits: List[Tensor] = field(default_factory=list)
    boxes: List[Tensor] = field(default_factory=list)
    labels: List[Tensor] = field(default_factory=list)
    weights: List[Tensor] = field(default_factory=list)
    teacher: List[List[Tensor]] = field(default_factory=list)
    strides: List[int] = field(default_factory=list)
    scale: int = 1
    first: int = 0

    def row_labels(self, rows: int) -> Tensor:
        """Assigned class of each row in the order of :func:`flatten`.

        Raises:
            RuntimeError: If the student's loss saw another number of them.
        """
        count = sum(x.numel() for x in self.labels)
        if count != rows:
            raise RuntimeError(
                f"the student's loss_cls saw {count} labels for {rows} "
                'locations; one for each is needed'
            )
        return torch.cat([x.reshape(-1) for x in self.labels])

    def row_weights(self, rows: int) -> Tensor:
        """Weight of each label in the student's own loss, shape (N,)."""
        if not self.weights:
            return torch.ones(rows, device=self.logits[0].device)
        return torch.cat([x.reshape(-1) for x in self.weights])

    def of_levels(self, count: int, columns: int, first: int) -> 'DenseRecord':
        """The first levels alone.

        Args:
            count (int): How many.
            columns (int): Class columns of the student.
            first (int): See the attribute.
        """
        sizes = [x.numel() // columns for x in self.logits]
        rows, total = sum(sizes[:count]), sum(sizes)
        labels = [self.row_labels(total)[:rows]] if self.labels else []
        weights = [self.row_weights(total)[:rows]] if self.weights else []
        return replace(
            self,
            logits=self.logits[:count],
            boxes=self.boxes[:count],
            labels=labels,
            weights=weights,
            first=first,
        )


@MODELS.register_module()
class DenseLogits(LogitRecorder[DenseRecord]):
    """Class logits of every location and anchor of a dense head.

    The student trains as always; this recorder takes note of the output of its
    head and of the classes that its assigner gave to the locations. The
    teacher's head then scores the same locations on its own features; its
    assigner and losses never run.

    Where the teacher's images have N times the student's pixels a side
    (``teacher=dict(..., input_scale=N)``), those of its levels are compared
    whose stride is N times the student's: with N = 2 its second level with
    the student's first. What the student's last level says is not compared
    then.

    For single-stage detectors whose ``bbox_head`` is one of RetinaNet, FCOS,
    ATSS, GFL and RTMDet or derived from it. Not for TOOD, whose head gives
    probabilities; for detectors with queries (DETR, DINO and kin) there is
    ``QueryLogits``.

    Args:
        locations (str): Which count. ``'all'`` alike; only the
            ``'positives'``, which the student's assigner gave to an object;
            or all, weighted by the ``'teacher'``'s confidence, its highest
            class probability at the location. In each case the loss is the
            weighted mean over all processes.
        class_map (str or dict, optional): Compare only the classes that
            student and teacher share; see :class:`ClassMap`.

    Raises:
        ValueError: If a setting is not one of the above.
    """

    def __init__(
        self,
        locations: str = 'teacher',
        class_map: Optional[ClassMapConfig] = None,
    ) -> None:
        if locations not in LOCATIONS:
            raise ValueError(
                f'locations must be one of {LOCATIONS}, got {locations!r}'
            )
        self.locations = locations
        self.class_map = None if class_map is None else ClassMap(class_map)

    def check(self, student: Model, teacher: Model) -> None:
        """Raise where the two detectors cannot be compared.

        Raises:
            TypeError: If one of them has none of the known heads.
            ValueError: If their classes, their kinds of classification or
                their grids of locations and anchors differ.
        """
        for role, model in (('student', student), ('teacher', teacher)):
            check_kind(role, model)
        compare_heads(student, teacher, self.class_map)
        compare_grids(student, teacher, self.input_scale)

    def columns(self, student: Model) -> int:
        """How many columns are compared."""
        return columns_of(student.bbox_head, self.class_map)

    def sigmoid(self, student: Model) -> bool:
        """Whether the heads take each column by itself."""
        return not softmax(student.bbox_head)

    def describe(self) -> str:
        """Which rows and columns count, for the log."""
        rows = dict(
            all='all alike',
            positives='those assigned to objects',
            teacher="weighted by the teacher's confidence",
        )[self.locations]
        return f'DenseLogits, locations and anchors of all levels, {rows}'

    @contextmanager
    def record(self, student: Model) -> Iterator[DenseRecord]:
        """Record the one training pass of the student inside the context."""
        with recording(student.bbox_head) as record:
            yield record

    def rescaled(self, record: DenseRecord, scales: Scales) -> DenseRecord:
        """The same places on larger images.

        Raises:
            ValueError: If the images are not ``input_scale`` times as large.
        """
        return rescaled(record, scales, self.input_scale)

    def replay(
        self, teacher: Model, features: FeatureMaps, record: DenseRecord
    ) -> LogitPair:
        """Have the teacher's head score all locations.

        Args:
            teacher (nn.Module): The teacher.
            features (Sequence[Tensor]): Its features of the same images.
            record (DenseRecord): What the student did.

        Raises:
            ValueError: If the two heads have other grids on these images.
            RuntimeError: If the student's loss did not see one label for
                each location.
        """
        head = teacher.bbox_head
        levels = list(head(tuple(features))[0])
        record, levels = same_places(head, record, levels)
        columns = student_columns(head, record)
        rows = flatten(record.logits, columns)
        target = flatten(levels, head.cls_out_channels)
        labels = record.row_labels(len(rows))
        return self._pair(rows, target, labels, softmax(head))

    def _pair(
        self,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        background: bool,
    ) -> LogitPair:
        labels, keep, classes = choose_rows(
            self.class_map,
            labels,
            student.shape[1] - int(background),
            self.locations == 'positives',
        )
        student, teacher = shared_columns(
            self.class_map, student, teacher, background
        )
        if keep is not None:
            student, teacher, labels = (
                student[keep],
                teacher[keep],
                labels[keep],
            )
        weight = None
        total = teacher.new_tensor(float(len(teacher)))
        if self.locations == 'teacher':
            weight = confidence(teacher, background)
            total = weight.sum()
        return LogitPair(
            student,
            teacher,
            labels,
            weight,
            mean_over_processes(total),
            foreground=labels < classes,
            background=background,
            tau_rows=labels < classes,
        )

    @property
    def needs_boxes(self) -> bool:
        """Whether ``held_out`` needs ground truth to tell its rows."""
        return self.locations == 'positives' or self.class_map is not None

    def held_out(
        self, student: Model, teacher: Model, data: dict
    ) -> Tuple[Tensor, Tensor]:
        """Logits of locations of held-out images, for tau on them.

        Args:
            student (nn.Module): The student.
            teacher (nn.Module): The teacher.
            data (dict): A batch of a validation loader; ground truth, if it
                is needed, in pixels of the network's input.

        Returns:
            tuple[Tensor, Tensor]: Student and teacher logits in the columns
            that training compares. With ``locations='positives'`` those that
            the student's assigner gives to an object; else the ten locations
            of each image where the teacher's confidence is highest. With a
            ``class_map``, none that is assigned to an object of a class that
            is not shared.

        Raises:
            ValueError: If the two heads have other grids on these images.
        """
        labels: Optional[Tensor] = None
        columns = student.bbox_head.cls_out_channels
        if self.needs_boxes:
            batch = student.data_preprocessor(data, False)
            images = batch['inputs']
            features = student.extract_feat(images)
            with self.record(student) as record:
                student.bbox_head.loss(features, batch['data_samples'])
        else:
            images = images_of(student, data)
            with recording(student.bbox_head) as record:
                student.bbox_head(student.extract_feat(images))
        scales = scales_of(data)
        if scales is not None or self.input_scale != 1:
            record = self.rescaled(record, scales or [(1.0, 1.0)])
        head = teacher.bbox_head
        own = teacher_images(teacher, data, images.shape[2:], self.input_scale)
        target = list(head(teacher.extract_feat(own))[0])
        record, target = same_places(head, record, target)
        levels = record.logits
        if self.needs_boxes:
            rows = sum(x.numel() for x in levels) // columns
            labels = label_images(
                record.row_labels(rows), levels, columns
            ).flatten()
        background = softmax(head)
        student_rows, teacher_rows = shared_columns(
            self.class_map,
            flatten_images(levels, columns).flatten(0, 1),
            flatten_images(target, head.cls_out_channels).flatten(0, 1),
            background,
        )
        keep: Optional[Tensor] = None
        if labels is not None:
            positives = self.locations == 'positives'
            _, keep, _ = choose_rows(
                self.class_map, labels, columns - int(background), positives
            )
            if positives:
                return student_rows[keep], teacher_rows[keep]
        top = highest_rows(
            confidence(teacher_rows, background), keep, len(levels[0])
        )
        return student_rows[top], teacher_rows[top]


@contextmanager
def recording(head: Model) -> Iterator[DenseRecord]:
    """Record the one training pass of a dense head in the context.

    Raises:
        RuntimeError: If it did not run.
    """
    record = DenseRecord(strides=strides_of(head))

    def note_outputs(output: Sequence, *args: object) -> None:
        record.logits, record.boxes = list(output[0]), list(output[1])

    def note_labels(
        loss: Tensor,
        logits: Tensor,
        target: Union[Tensor, Sequence[Tensor]],
        weight: Optional[Tensor] = None,
        *args: object,
        **kwargs: object,
    ) -> None:
        # Of focal loss labels, of quality focal loss (labels, quality).
        record.labels.append(
            target if isinstance(target, Tensor) else target[0]
        )
        if weight is not None:
            record.weights.append(weight)

    with (
        listening(head, 'forward', note_outputs),
        listening(head.loss_cls, 'forward', note_labels),
    ):
        yield record
    check_ran(record.logits, head)


def rescaled(
    record: DenseRecord, scales: Scales, input_scale: int
) -> DenseRecord:
    """What a dense head did, for images ``input_scale`` times as large.

    Raises:
        ValueError: If they are not all of that size.
    """
    check_scales(scales, input_scale)
    return replace(record, scale=input_scale)


def same_places(
    head: Model, record: DenseRecord, levels: Sequence[Tensor]
) -> Tuple[DenseRecord, List[Tensor]]:
    """What both heads gave at the levels whose places are the same.

    Args:
        head (nn.Module): The teacher's.
        record (DenseRecord): What the student did.
        levels (Sequence[Tensor]): Logits or boxes of the teacher's head, all
            levels.

    Raises:
        ValueError: If the two have other grids on these images.
    """
    found = list(levels)
    if record.scale != 1:
        first, count = matched_levels(
            record.strides, strides_of(head), record.scale
        )
        columns = student_columns(head, record)
        record = record.of_levels(count, columns, first)
        found = found[first : first + count]
    compare_levels(head, record.logits, found)
    return record, found


def matched_levels(
    student: Sequence[int], teacher: Sequence[int], scale: int
) -> Tuple[int, int]:
    """Which levels have the same places, where the images differ in size.

    Args:
        student (Sequence[int]): Strides of the student's levels.
        teacher (Sequence[int]): Strides of the teacher's levels.
        scale (int): Pixels a side of the teacher's images over the
            student's.

    Returns:
        tuple[int, int]: The teacher's level that has the places of the
        student's first, and for how many levels they go on together.

    Raises:
        ValueError: If the student's first level has none.
    """
    if scale * student[0] not in teacher:
        raise ValueError(
            f'on images of {scale} times the size, no level of the teacher '
            f"has the places of the student's first: strides of the student "
            f'are {list(student)}, of the teacher {list(teacher)}, and '
            f'{scale} times {student[0]} is not among them. Take another '
            'input_scale, 2 where both have the same strides'
        )
    first = list(teacher).index(scale * student[0])
    count = 0
    for s, t in zip(student, teacher[first:]):
        if t != scale * s:
            break
        count += 1
    return first, count


def strides_of(head: Model) -> List[int]:
    """Pixels between the places of each level of a dense head."""
    return [stride[0] for stride in head.prior_generator.strides]


def student_columns(head: Model, record: DenseRecord) -> int:
    """Class columns of the student; the anchors are also the teacher's."""
    anchors = head.prior_generator.num_base_priors[0]
    return record.logits[0].shape[1] // anchors


def highest_rows(
    scores: Tensor, keep: Optional[Tensor], images: int, count: int = 10
) -> Tensor:
    """Rows of the highest scores of each image, highest first.

    Args:
        scores (Tensor): Not negative, image by image, shape (B * N,).
        keep (Tensor, optional): Which rows may be chosen, shape (B * N,).
        images (int): Number of images, B.
        count (int): How many of each image; fewer if there are fewer.

    Returns:
        Tensor: Their index, image by image.
    """
    if keep is not None:
        scores = scores.masked_fill(~keep, -1)
    scores = scores.view(images, -1)
    rows = scores.shape[1]
    top = scores.topk(min(count, rows))
    first = rows * torch.arange(images, device=scores.device)[:, None]
    return (top.indices + first)[top.values >= 0]


def compare_heads(
    student: Model, teacher: Model, class_map: Optional[ClassMap]
) -> None:
    """Raise ValueError unless two heads classify alike, the same classes."""
    heads = student.bbox_head, teacher.bbox_head
    if softmax(heads[0]) != softmax(heads[1]):
        kinds = ['softmax' if softmax(h) else 'sigmoid' for h in heads]
        raise ValueError(
            f'the student classifies by {kinds[0]} and the teacher by '
            f'{kinds[1]}; their logits do not mean the same'
        )
    counts = [h.num_classes for h in heads]
    if class_map is None and counts[0] != counts[1]:
        raise ValueError(
            f'the student has {counts[0]} classes and the teacher '
            f'{counts[1]}; logits can only be compared class by '
            "class. Set class_map='names' on the recorder of the logits to "
            'compare the classes that they share.'
        )


def compare_grids(student: Model, teacher: Model, scale: int = 1) -> None:
    """Raise ValueError unless two heads have the same strides and anchors.

    Args:
        student (nn.Module): A detector with a dense head.
        teacher (nn.Module): Another.
        scale (int): Pixels a side of the teacher's images over the
            student's. Of another than 1, only the levels of
            :func:`matched_levels` need to be the same.
    """
    heads = student.bbox_head, teacher.bbox_head
    grids = [prior_grid(heads[0], scale), prior_grid(heads[1])]
    if scale != 1:
        first, count = matched_levels(
            strides_of(heads[0]), strides_of(heads[1]), scale
        )
        grids = [grids[0][:count], grids[1][first : first + count]]
    if grids[0] != grids[1]:
        where = ', in pixels of the teacher,' if scale != 1 else ''
        raise ValueError(
            'student and teacher do not predict at the same locations: '
            f'the student has{where} {grids[0]}, the teacher {grids[1]}. Give '
            'both the same strides and anchors.'
        )


def check_kind(role: str, model: Model, who: str = 'DenseLogits') -> None:
    """Raise TypeError unless the model has one of the known dense heads."""
    head = getattr(model, 'bbox_head', None)
    if isinstance(head, HEADS) and not isinstance(head, TOODHead):
        return
    found = f'a {type(head).__name__}' if head is not None else 'no bbox_head'
    text = (
        f'{who} needs a detector with the head of RetinaNet, FCOS, '
        f'ATSS, GFL or RTMDet, but the {role}, a {type(model).__name__}, has '
        f'{found}.'
    )
    if hasattr(model, 'roi_head'):
        text += ' For two-stage detectors there is RoILogits.'
    elif isinstance(model, DetectionTransformer):
        text += ' For detectors with queries there is QueryLogits.'
    raise TypeError(text)


def softmax(head: Model) -> bool:
    """Whether a dense head has a background column."""
    return head.cls_out_channels == head.num_classes + 1


def columns_of(head: Model, class_map: Optional[ClassMap]) -> int:
    """How many columns of a dense head are compared."""
    if class_map is None or class_map.student is None:
        return head.cls_out_channels
    return class_map.count + int(softmax(head))


def prior_grid(head: Model, scale: int = 1) -> List[Tuple[str, ...]]:
    """Stride and anchors (width, height) of each level of a dense head.

    On images of ``scale`` times the pixels a side.
    """
    generator = head.prior_generator
    anchors = getattr(generator, 'base_anchors', None)
    levels: List[Tuple[str, ...]] = []
    for i, stride in enumerate(generator.strides):
        level = [f'stride {scale * stride[0]}x{scale * stride[1]}']
        if anchors is not None:
            sides = scale * (anchors[i][:, 2:] - anchors[i][:, :2])
            level += [f'{w:.4g}x{h:.4g}' for w, h in sides.tolist()]
        levels.append(tuple(level))
    return levels


def compare_levels(
    head: Model, student: Sequence[Tensor], teacher: Sequence[Tensor]
) -> None:
    """Raise ValueError unless two heads gave the same grid on these images.

    Args:
        head (nn.Module): The teacher's head, with the anchors of both.
        student (Sequence[Tensor]): Levels of the student, shape
            (B, A * C, H, W) each.
        teacher (Sequence[Tensor]): Levels of the teacher, likewise.
    """
    anchors = head.prior_generator.num_base_priors
    grids = [
        [(a, *x.shape[2:]) for a, x in zip(anchors, levels)]
        for levels in (student, teacher)
    ]
    if len(student) != len(teacher) or grids[0] != grids[1]:
        raise ValueError(
            'student and teacher predict at other locations on the same '
            'images. (anchors, height, width) of each level: the student '
            f'has {grids[0]}, the teacher {grids[1]}. Give both the same '
            'strides, and the same padding in data_preprocessor '
            '(pad_size_divisor).'
        )


def flatten(levels: Sequence[Tensor], columns: int) -> Tensor:
    """Logits of all levels as rows, in the order of MMDetection's losses.

    Args:
        levels (Sequence[Tensor]): Shape (B, A * C, H, W) each.
        columns (int): Number of columns, C.

    Returns:
        Tensor: Shape (N, C); levels one after the other, in each the images,
        rows, columns and anchors.
    """
    return torch.cat(
        [x.permute(0, 2, 3, 1).reshape(-1, columns) for x in levels]
    )


def flatten_images(levels: Sequence[Tensor], columns: int) -> Tensor:
    """Logits of all levels image by image, shape (B, N, C)."""
    images = range(len(levels[0]))
    return torch.stack(
        [flatten([x[i : i + 1] for x in levels], columns) for i in images]
    )


def label_images(
    labels: Tensor, levels: Sequence[Tensor], columns: int
) -> Tensor:
    """Labels in the order of :func:`flatten` image by image, shape (B, N)."""
    images = len(levels[0])
    parts = labels.split([x.numel() // columns for x in levels])
    return torch.cat([part.view(images, -1) for part in parts], 1)
