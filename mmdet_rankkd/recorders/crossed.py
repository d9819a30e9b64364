"""Recorder of dense detectors: maps inside the heads of both."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Iterator, List, Optional, Sequence

import torch
from mmdet.models.dense_heads import FCOSHead
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import (
    Crossing,
    HeadMaps,
    Predictions,
    mean_over_processes,
)

from .base import FeatureMaps, Model, Recorder
from .boxes import priors_of, teachers_outputs, watching
from .dense import (
    DenseRecord,
    check_kind,
    compare_grids,
    compare_levels,
    flatten,
    recording,
    softmax,
    student_columns,
)
from .listening import listening, replacing
from .shared import blank_image

TOWERS = ('cls_convs', 'reg_convs')


def no_maps() -> HeadMaps:
    """Maps that are still to come."""
    return HeadMaps([], [])


@dataclass
class CrossedRecord:
    """What both heads computed in one training pass.

    Attributes:
        dense (DenseRecord): Outputs of both heads.
        student (HeadMaps): Maps inside the student's head.
        teacher (HeadMaps): Maps inside the teacher's.
        centerness (list[Tensor]): Targets of FCOS, of places on objects.
    """

    dense: DenseRecord
    student: HeadMaps = field(default_factory=no_maps)
    teacher: HeadMaps = field(default_factory=no_maps)
    centerness: List[Tensor] = field(default_factory=list)


@MODELS.register_module()
class CrossedHead(Recorder[CrossedRecord, Crossing]):
    """Maps inside the student's head, to go through the teacher's rest.

    For single-stage detectors with the head of RetinaNet, FCOS, ATSS, GFL or
    RTMDet that classify by the sigmoid. Both need the same locations and
    anchors; classes, kinds of boxes and widths may differ, as everything is
    predicted by the teacher's head.

    Args:
        layer (int): Convolution of the towers behind which the maps are
            taken: 1 is the first; -1 leaves the teacher its last one.
    """

    def __init__(self, layer: int = -1) -> None:
        self.layer = layer

    def check(self, student: Model, teacher: Model) -> None:
        """Raise where the student's maps cannot enter the teacher's head.

        Raises:
            TypeError: If one of them has none of the known heads.
            ValueError: If their grids differ, a tower has no such layer, or
                the teacher classifies by the softmax.
        """
        for role, model in (('student', student), ('teacher', teacher)):
            self.check_head(role, model)
        compare_grids(student, teacher)
        if softmax(teacher.bbox_head):
            raise ValueError(
                'CrossedHead (of CrossKDLoss) needs a teacher that '
                'classifies by the sigmoid; this one has a background column'
            )

    def check_head(self, role: str, model: Model) -> None:
        """Raise TypeError or ValueError if a head has no such layer."""
        check_kind(role, model, 'CrossedHead (of CrossKDLoss)')
        for tower in TOWERS:
            for convs in levels_of(model.bbox_head, tower):
                if not 1 <= index_of(convs, self.layer) <= len(convs):
                    raise ValueError(
                        f'layer={self.layer} is none of the {len(convs)} '
                        f"convolutions in {tower} of the {role}'s head"
                    )

    @contextmanager
    def record(self, student: Model) -> Iterator[CrossedRecord]:
        """Record the one training pass of the student in the context.

        Raises:
            RuntimeError: If its head did not give one map a level.
        """
        head = student.bbox_head

        def note_targets(
            loss: Tensor, logits: Tensor, targets: Tensor, **kwargs: object
        ) -> None:
            record.centerness.append(targets)

        with recording(head) as dense, ExitStack() as context:
            record = CrossedRecord(dense)
            context.enter_context(hearing(head, self.layer, record.student))
            if isinstance(head, FCOSHead):
                context.enter_context(
                    listening(head.loss_centerness, 'forward', note_targets)
                )
            yield record
        for maps in record.student:
            if len(maps) != len(record.dense.logits):
                raise RuntimeError(
                    f"layer {self.layer} of the student's "
                    f'{type(head).__name__} gave {len(maps)} maps for '
                    f'{len(record.dense.logits)} levels'
                )

    @contextmanager
    def watch(self, teacher: Model, record: CrossedRecord) -> Iterator[None]:
        """Record the teacher's head in the context."""
        head = teacher.bbox_head
        with (
            watching(head, record.dense),
            hearing(head, self.layer, record.teacher),
        ):
            yield

    def replay(
        self, teacher: Model, features: FeatureMaps, record: CrossedRecord
    ) -> Crossing:
        """The teacher's predictions, and the rest of its head.

        Raises:
            ValueError: If the two heads have other grids on these images.
        """
        head, dense = teacher.bbox_head, record.dense
        logits, boxes = teachers_outputs(head, features, dense)
        compare_levels(head, dense.logits, logits)
        target = predictions(head, logits, boxes)
        labels = dense.row_labels(len(target.logits))
        background = student_columns(head, dense)
        objects = ((labels >= 0) & (labels < background)).float()
        if record.centerness:
            objects = torch.cat(record.centerness)
        return Crossing(
            record.student,
            record.teacher,
            partial(rest_of, head, self.layer, features),
            target,
            dense.row_weights(len(labels)),
            mean_over_processes(objects.sum()).clamp(min=1),
        )

    @torch.no_grad()
    def probe(
        self, model: Model, role: str, size: Optional[int] = None
    ) -> HeadMaps:
        """Maps of a blank image, for their shapes.

        Raises:
            TypeError, ValueError: If there is no such layer.
        """
        self.check_head(role, model)
        training = model.training
        model.eval()
        maps = no_maps()
        image = blank_image(model, size or 128)
        with hearing(model.bbox_head, self.layer, maps):
            model.bbox_head(tuple(model.extract_feat(image)))
        model.train(training)
        return maps


def levels_of(head: Model, tower: str) -> List[Sequence[Model]]:
    """Convolutions of a tower: of all levels, or a level each."""
    convs = getattr(head, tower)
    nested = len(convs) and isinstance(convs[0], nn.ModuleList)
    return list(convs) if nested else [convs]


def index_of(convs: Sequence[Model], layer: int) -> int:
    """How many convolutions there are up to a layer, itself included."""
    return layer if layer > 0 else len(convs) + layer


@contextmanager
def hearing(head: Model, layer: int, maps: HeadMaps) -> Iterator[None]:
    """Append what a layer of each tower gives in the context."""

    def note(found: List[Tensor], output: Tensor, *args: object) -> None:
        found.append(output)

    with ExitStack() as context:
        for tower, found in zip(TOWERS, maps):
            for convs in levels_of(head, tower):
                conv = convs[index_of(convs, layer) - 1]
                context.enter_context(
                    listening(conv, 'forward', partial(note, found))
                )
        yield


@contextmanager
def entering(head: Model, layer: int, maps: HeadMaps) -> Iterator[None]:
    """Have a head go on from maps in the context, and not from its input.

    The convolutions up to the layer do nothing; what enters behind them is
    kept at 0 or above if their activation, a ReLU, does so.
    """
    with ExitStack() as context:
        for tower, levels in zip(TOWERS, maps):
            given = iter(levels)
            for convs in levels_of(head, tower):
                *before, last = convs[: index_of(convs, layer)]
                for conv in before:
                    context.enter_context(replacing(conv, 'forward', same))
                enter = partial(entered, last, given)
                context.enter_context(replacing(last, 'forward', enter))
        yield


def same(x: Tensor) -> Tensor:
    """What goes through a layer that is left out."""
    return x


def entered(conv: Model, given: Iterator[Tensor], x: Tensor) -> Tensor:
    """The next map, in place of what would come from the input."""
    rectifies = isinstance(getattr(conv, 'activate', None), nn.ReLU)
    return next(given).relu() if rectifies else next(given)


def rest_of(
    head: Model, layer: int, features: FeatureMaps, maps: HeadMaps
) -> Predictions:
    """Predictions of a head from maps behind one of its layers.

    In the head's own dtype, also under autocast.

    Args:
        head (nn.Module): A dense head.
        layer (int): The layer.
        features (Sequence[Tensor]): Levels of the neck, for their number.
        maps (HeadMaps): Maps in its shapes.
    """
    device = features[0].device.type
    maps = HeadMaps(*([x.to(features[0]) for x in tower] for tower in maps))
    with torch.autocast(device, enabled=False), entering(head, layer, maps):
        logits, boxes, *_ = head(tuple(features))
    return predictions(head, logits, boxes)


def predictions(
    head: Model, logits: Sequence[Tensor], boxes: Sequence[Tensor]
) -> Predictions:
    """Outputs of a dense head as rows, in the order of :func:`flatten`."""
    rows = flatten(logits, head.cls_out_channels)
    bins = getattr(head, 'reg_max', None)
    if bins is not None:
        return Predictions(rows, flatten(boxes, 4 * (bins + 1)))
    priors = torch.cat(
        [x.repeat(len(logits[0]), 1) for x in priors_of(head, logits)]
    )
    return Predictions(rows, head.bbox_coder.decode(priors, flatten(boxes, 4)))
