"""The student's data preprocessor, with the teacher's view of the images."""

from typing import Any, Callable, Optional, Sequence

from torch import Tensor, nn

from mmdet_rankkd.recorders import Model


def own_or_students(module: Model, own: Callable, name: str) -> Any:
    """An attribute of a module or, if it has none, of its student."""
    try:
        return own(name)
    except AttributeError:
        if name == 'student':
            raise
        return getattr(module.student, name)


def without_teachers(data: dict) -> dict:
    """A batch without the teacher's images, which no student knows."""
    return {k: v for k, v in data.items() if k != 'teacher_inputs'}


class DistillDataPreprocessor(nn.Module):
    """The student's data preprocessor, plus the teacher's view in training.

    Args:
        student (nn.Module): Data preprocessor of the student.
        teacher_inputs (Callable): Makes the teacher's images of a raw batch
            and the height and width of the student's padded one, or None
            where they are the student's.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher_inputs: Callable[[dict, Sequence[int]], Optional[Tensor]],
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher_inputs = teacher_inputs

    def __getattr__(self, name: str) -> Any:
        """``device``, ``mean``, ``std``, ...: those of the student's."""
        return own_or_students(self, super().__getattr__, name)

    def forward(self, data: dict, training: bool = False) -> dict:
        """As ``BaseDataPreprocessor.forward``; may add ``teacher_inputs``.

        Those of the data, if there are some, are what the teacher's images
        are made of. A second view of the images, ``strong_inputs``, becomes
        ``strong``, which has ``inputs`` and ``teacher_inputs`` of its own.
        """
        if not training:
            return self.student(without_teachers(data), training)
        data = dict(data)
        strong = data.pop('strong_inputs', None)
        result = self._view(data)
        if strong is not None:
            result['strong'] = self._view(dict(inputs=strong))
        return result

    def _view(self, data: dict) -> dict:
        result = self.student(without_teachers(data), True)
        size = result['inputs'].shape[-2:]
        teacher_inputs = self.teacher_inputs(data, size)
        if teacher_inputs is not None:
            result['teacher_inputs'] = teacher_inputs
        return result
