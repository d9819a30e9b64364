"""Recorder of dense detectors: distributions of the boxes."""

from typing import ContextManager, List, Sequence, Tuple

import torch
from torch import Tensor

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import BoxPair, Scales, confidence

from .base import FeatureMaps, Model, Recorder
from .dense import (
    DenseRecord,
    check_kind,
    compare_grids,
    flatten,
    recording,
    rescaled,
    same_places,
    softmax,
    student_columns,
)
from .listening import listening


@MODELS.register_module()
class BoxDistributions(Recorder[DenseRecord, BoxPair]):
    """Distributions of the sides of the boxes, at every location.

    For dense heads that give the distance of a location to each side of its
    box as logits of ``reg_max + 1`` bins: GFL's and what is derived from it.
    The teacher's head is not run once more for it.
    """

    def check(self, student: Model, teacher: Model) -> None:
        """Raise where the two detectors cannot be compared.

        Raises:
            TypeError: If one of them has no such head.
            ValueError: If their bins or their grids of locations differ.
        """
        bins = []
        for role, model in (('student', student), ('teacher', teacher)):
            check_kind(role, model, 'BoxDistributions (of LDLoss)')
            bins.append(getattr(model.bbox_head, 'reg_max', None))
            if bins[-1] is None:
                raise TypeError(
                    'BoxDistributions (of LDLoss) needs heads that give '
                    'distributions of the sides of boxes, with reg_max as '
                    f"that of GFL, but the {role}'s "
                    f'{type(model.bbox_head).__name__} has none'
                )
        if bins[0] != bins[1]:
            raise ValueError(
                f'the student has reg_max={bins[0]} and the teacher '
                f'{bins[1]}; distributions can only be compared bin by bin'
            )
        compare_grids(student, teacher, self.input_scale)

    def record(self, student: Model) -> ContextManager[DenseRecord]:
        """Record the one training pass of the student in the context."""
        return recording(student.bbox_head)

    def rescaled(self, record: DenseRecord, scales: Scales) -> DenseRecord:
        """The same places on larger images: distances are in strides.

        Raises:
            ValueError: If the images are not ``input_scale`` times as large.
        """
        return rescaled(record, scales, self.input_scale)

    def watch(
        self, teacher: Model, record: DenseRecord
    ) -> ContextManager[None]:
        """Record what the teacher's head gives in the context."""
        return watching(teacher.bbox_head, record)

    def replay(
        self, teacher: Model, features: FeatureMaps, record: DenseRecord
    ) -> BoxPair:
        """Distributions of both, a row a location, side by side in it."""
        head = teacher.bbox_head
        _, boxes = teachers_outputs(head, features, record)
        record, boxes = same_places(head, record, boxes)
        columns = 4 * (head.reg_max + 1)
        return box_pair(
            head,
            record,
            flatten(record.boxes, columns),
            flatten(boxes, columns),
        )


def watching(head: Model, record: DenseRecord) -> ContextManager[None]:
    """Record what a teacher's dense head gives in the context."""

    def note(output: Sequence, *args: object) -> None:
        record.teacher = [list(part) for part in output]

    return listening(head, 'forward', note)


def teachers_outputs(
    head: Model, features: FeatureMaps, record: DenseRecord
) -> Tuple[List[Tensor], List[Tensor]]:
    """Logits and boxes of a teacher's head, which is run if it was not."""
    if not record.teacher:
        record.teacher = [list(part) for part in head(tuple(features))]
    return record.teacher[0], record.teacher[1]


def box_pair(
    head: Model, record: DenseRecord, student: Tensor, teacher: Tensor
) -> BoxPair:
    """Boxes of both with what tells their rows apart.

    Args:
        head (nn.Module): The teacher's, with the priors of both.
        record (DenseRecord): What the student did.
        student (Tensor): Shape (N, K), in the order of :func:`flatten`.
        teacher (Tensor): Shape (N, K).
    """
    levels = [
        x / record.scale for x in priors_of(head, record.logits, record.first)
    ]
    images = len(record.logits[0])
    device = student.device
    background = softmax(head)
    columns = student_columns(head, record)
    logits = flatten(record.logits, columns).detach()
    labels = record.row_labels(len(student))
    counts = torch.tensor([images * len(x) for x in levels], device=device)
    index = torch.arange(images, device=device)
    return BoxPair(
        student,
        teacher,
        priors=torch.cat([x.repeat(images, 1) for x in levels]),
        image=torch.cat([index.repeat_interleave(len(x)) for x in levels]),
        level=torch.arange(len(levels), device=device).repeat_interleave(
            counts
        ),
        foreground=(labels >= 0) & (labels < columns - int(background)),
        weight=record.row_weights(len(student)),
        confidence=confidence(logits, background),
    )


def priors_of(
    head: Model, levels: Sequence[Tensor], first: int = 0
) -> List[Tensor]:
    """Anchors or points of the levels of a dense head, of one image.

    Args:
        head (nn.Module): The head.
        levels (Sequence[Tensor]): Maps of some of its levels.
        first (int): Which level the first is of.
    """
    generator = head.prior_generator
    return [
        generator.single_level_grid_priors(
            tuple(x.shape[2:]), level_idx=first + i, device=x.device
        )
        for i, x in enumerate(levels)
    ]
