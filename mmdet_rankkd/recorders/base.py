"""What all recorders are: listen to the student, replay on the teacher."""

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import Any, ContextManager, Generic, Optional, Tuple, TypeVar

from torch import Tensor

from mmdet_rankkd.structures import LogitPair, Scales

from .classes import ClassMap

#: A detector or classifier. To a type checker, each attribute of a module may
#: be a tensor, so that nothing could be called on its heads.
Model = Any
#: Feature maps as ``extract_feat`` returns them.
FeatureMaps = Tuple[Tensor, ...]
Record = TypeVar('Record')
Replayed = TypeVar('Replayed')
NO_OTHER_SIZE = (
    'cannot compare a student with a teacher that sees the images at another '
    'resolution; give both the same one'
)


class Recorder(ABC, Generic[Record, Replayed]):
    """Records what a student computes and asks the teacher for the same.

    In each step a distiller calls :meth:`record` around the student's pass,
    :meth:`watch` around the teacher's backbone and neck, and
    :meth:`replay` then.
    """

    #: How many times the student's pixels a side the teacher's images have,
    #: where places are compared; told by ``teacher=dict(input_scale=...)``.
    input_scale: int = 1

    @abstractmethod
    def check(self, student: Model, teacher: Model) -> None:
        """Raise where the two models cannot be compared.

        Raises:
            TypeError: If one of them is of another kind.
            ValueError: If they differ in what must be equal.
        """

    @abstractmethod
    def record(self, student: Model) -> ContextManager[Record]:
        """Record the one training pass of the student in the context."""

    def watch(self, teacher: Model, record: Record) -> ContextManager:
        """Record the teacher's backbone and neck; most need nothing of it."""
        return nullcontext()

    def rescaled(self, record: Record, scales: Scales) -> Record:
        """What the student did, for images of another size of the teacher.

        Called between :meth:`record` and :meth:`watch`, where the sizes of
        the images differ. What is not overridden refuses.

        Args:
            record: What the student did.
            scales (list): (width, height) of each of the teacher's images
                over the student's.

        Raises:
            ValueError: If such images cannot be compared.
        """
        raise ValueError(f'{type(self).__name__} {NO_OTHER_SIZE}')

    @property
    def offers_scales(self) -> bool:
        """Whether :meth:`rescaled` is there."""
        return type(self).rescaled is not Recorder.rescaled

    @abstractmethod
    def replay(
        self, teacher: Model, features: FeatureMaps, record: Record
    ) -> Replayed:
        """Ask the teacher for the same things.

        Args:
            teacher (nn.Module): The teacher.
            features (tuple[Tensor]): Its features of the same images.
            record: What the student did.
        """


class LogitRecorder(Recorder[Record, LogitPair]):
    """A recorder of class logits."""

    #: The classes that are compared, where student and teacher know others.
    class_map: Optional[ClassMap] = None
    #: Whether the rows' labels are the teacher's and not of ground truth.
    labels_of_teacher = False
    #: Whether there are logits at all; ``NoLogits`` has none.
    compares_logits = True

    @abstractmethod
    def columns(self, student: Model) -> Optional[int]:
        """How many columns are compared; None where that is not known."""

    @abstractmethod
    def sigmoid(self, student: Model) -> Optional[bool]:
        """Whether the heads take each column by itself, if it is known."""

    def has_background(self, student: Model) -> bool:
        """Whether the last of the columns is background, as of a softmax."""
        return self.sigmoid(student) is False

    @abstractmethod
    def describe(self) -> str:
        """Which rows and columns count, for the log."""

    @property
    def needs_boxes(self) -> bool:
        """Whether :meth:`held_out` needs ground truth to tell its rows."""
        return False

    def held_out(
        self, student: Model, teacher: Model, data: dict
    ) -> Tuple[Tensor, Tensor]:
        """Logits of held-out images in the columns that training compares.

        Args:
            student (nn.Module): The student.
            teacher (nn.Module): The teacher.
            data (dict): A batch of a validation loader; ground truth, if it
                is needed, in pixels of the network's input.

        Returns:
            tuple[Tensor, Tensor]: Student and teacher logits, row by row.

        Raises:
            NotImplementedError: If the recorder does not offer it.
        """
        raise NotImplementedError(
            f'{type(self).__name__} offers no logits of held-out images'
        )

    @property
    def offers_held_out(self) -> bool:
        """Whether :meth:`held_out` is there."""
        return type(self).held_out is not LogitRecorder.held_out
