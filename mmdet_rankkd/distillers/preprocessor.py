"""The student's data preprocessor, with the teacher's view of the images."""

from typing import Any, Callable, Optional

from torch import Tensor, nn


def own_or_students(module: Any, own: Callable, name: str) -> Any:
    """An attribute of a module or, if it has none, of its student."""
    try:
        return own(name)
    except AttributeError:
        if name == 'student':
            raise
        return getattr(module.student, name)


class DistillDataPreprocessor(nn.Module):
    """The student's data preprocessor, plus the teacher's view in training.

    Args:
        student (nn.Module): Data preprocessor of the student.
        teacher_inputs (Callable): Makes the teacher's images of a raw batch,
            or None where they are the student's.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher_inputs: Callable[[dict], Optional[Tensor]],
    ) -> None:
        super().__init__()
        self.student = student
        self.teacher_inputs = teacher_inputs

    def __getattr__(self, name: str) -> Any:
        """``device``, ``mean``, ``std``, ...: those of the student's."""
        return own_or_students(self, super().__getattr__, name)

    def forward(self, data: dict, training: bool = False) -> dict:
        """As ``BaseDataPreprocessor.forward``; may add ``teacher_inputs``.

        A second view of the images, ``strong_inputs``, becomes ``strong``,
        which has ``inputs`` and ``teacher_inputs`` of its own.
        """
        if not training:
            return self.student(data, training)
        data = dict(data)
        strong = data.pop('strong_inputs', None)
        result = self._view(data)
        if strong is not None:
            result['strong'] = self._view(dict(inputs=strong))
        return result

    def _view(self, data: dict) -> dict:
        teacher_inputs = self.teacher_inputs(data)
        data = self.student(data, True)
        if teacher_inputs is not None:
            data['teacher_inputs'] = teacher_inputs
        return data
