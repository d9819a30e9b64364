"""Recorder of image classifiers."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence, Tuple

import torch
from torch import Tensor

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import ClsDataSample, LogitPair, Scales

from .base import FeatureMaps, LogitRecorder, Model
from .listening import listening
from .shared import images_of, teacher_images


@dataclass
class ClsRecord:
    """What the student's head computed in one training pass.

    Attributes:
        logits (Tensor): Shape (B, C).
        labels (Tensor): True class of each image, shape (B,).
    """

    logits: Optional[Tensor] = None
    labels: Optional[Tensor] = None


@MODELS.register_module()
class ClsLogits(LogitRecorder[ClsRecord]):
    """Class logits of the images, one row each.

    The student trains as always; this recorder takes note of the output of one
    of its layers. The teacher's head then scores the same images.

    For classifiers with ``extract_feat`` and a ``head`` whose ``forward``
    gives logits and whose ``loss(feats, data_samples)`` reads ``gt_label``:
    those of this package and MMPretrain's.

    Args:
        layer (str): Layer of the student whose output counts. The head by
            default; ``'head.fc_dist'`` is the layer of a distillation token.
    """

    def __init__(self, layer: str = 'head') -> None:
        self.layer = layer

    def check(self, student: Model, teacher: Model) -> None:
        """Raise where the two classifiers cannot be compared.

        Raises:
            TypeError: If one is no classifier.
            ValueError: If the numbers of classes differ, or the student has
                no such layer.
        """
        for role, model in (('student', student), ('teacher', teacher)):
            if not hasattr(model, 'extract_feat') or not callable(
                getattr(model, 'head', None)
            ):
                raise TypeError(
                    f'ClsLogits needs a classifier with extract_feat and '
                    f'head, but the {role} is a {type(model).__name__}'
                )
        try:
            student.get_submodule(self.layer)
        except AttributeError as error:
            names = [f'head.{n}' for n, _ in student.head.named_children()]
            raise ValueError(
                f'the student has no layer {self.layer!r}: {error}. Layers '
                f'of its head: {", ".join(names)}'
            ) from error
        counts = [
            getattr(m.head, 'num_classes', None) for m in (student, teacher)
        ]
        if None not in counts and counts[0] != counts[1]:
            raise ValueError(
                f'the student has {counts[0]} classes and the teacher '
                f'{counts[1]}; logits can only be compared class by class'
            )

    def columns(self, student: Model) -> Optional[int]:
        """How many columns are compared, if the head tells."""
        return getattr(student.head, 'num_classes', None)

    def sigmoid(self, student: Model) -> Optional[bool]:
        """Whether the heads take each column by itself; not known here."""
        return None

    def describe(self) -> str:
        """Which rows and columns count, for the log."""
        return f'ClsLogits, one of each image, of the layer {self.layer!r}'

    @contextmanager
    def record(self, student: Model) -> Iterator[ClsRecord]:
        """Record the one training pass of the student inside the context."""

        def note_labels(
            losses: dict,
            feats: FeatureMaps,
            data_samples: Sequence[ClsDataSample],
            *args: object,
            **kwargs: object,
        ) -> None:
            record.labels = torch.cat([s.gt_label for s in data_samples])

        with (
            self.listen(student) as record,
            listening(student.head, 'loss', note_labels),
        ):
            yield record

    @contextmanager
    def listen(self, student: Model) -> Iterator[ClsRecord]:
        """Record the logits of one pass of the student inside the context.

        Raises:
            RuntimeError: If the layer gave none.
        """
        record = ClsRecord()

        def note_logits(output: Tensor, *args: object) -> None:
            record.logits = output

        layer = student.get_submodule(self.layer)
        with listening(layer, 'forward', note_logits):
            yield record
        if not isinstance(record.logits, Tensor) or record.logits.dim() != 2:
            raise RuntimeError(
                f'the layer {self.layer!r} of the student gave no logits of '
                f'shape (N, C), but '
                f'{type(record.logits).__name__}'
            )

    def rescaled(self, record: ClsRecord, scales: Scales) -> ClsRecord:
        """As it is: logits are of whole images, of whatever size."""
        return record

    def replay(
        self, teacher: Model, features: FeatureMaps, record: ClsRecord
    ) -> LogitPair:
        """Have the teacher's head score its features of the images.

        Args:
            teacher (nn.Module): The teacher.
            features (Sequence[Tensor]): Its features of the same images.
            record (ClsRecord): What the student did.
        """
        assert record.logits is not None
        return LogitPair(record.logits, teacher.head(features), record.labels)

    def held_out(
        self, student: Model, teacher: Model, data: dict
    ) -> Tuple[Tensor, Tensor]:
        """Logits of held-out images, for tau on them.

        Args:
            student (nn.Module): The student.
            teacher (nn.Module): The teacher.
            data (dict): A batch of a validation loader.

        Returns:
            tuple[Tensor, Tensor]: Student and teacher logits, a row an image.
        """
        images = images_of(student, data)
        own = teacher_images(teacher, data, images.shape[2:], self.input_scale)
        with self.listen(student) as record:
            student.head(student.extract_feat(images))
        assert record.logits is not None
        return record.logits, teacher.head(teacher.extract_feat(own))
