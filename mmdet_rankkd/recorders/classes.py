"""Classes that student and teacher share, where their sets differ."""

from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

ClassMapConfig = Union[str, Dict[str, str]]


class ClassMap:
    """Columns of the classes that both student and teacher know.

    Args:
        pairs (str or dict): ``'names'`` for the classes that have the same
            name in both; or, for each class to compare, its name in the
            training set and its name in the teacher's checkpoint.

    Raises:
        ValueError: If it is neither.
    """

    def __init__(self, pairs: ClassMapConfig) -> None:
        if pairs != 'names' and not (isinstance(pairs, dict) and pairs):
            raise ValueError(
                "class_map must be 'names' or a dict of student's class "
                f"names to the teacher's, got {pairs!r}"
            )
        self.pairs = pairs
        self.names: List[str] = []
        self.sizes = (0, 0)
        self.student: Optional[Tensor] = None
        self.teacher: Optional[Tensor] = None
        self.labels: Optional[Tensor] = None

    def match(
        self,
        student: Optional[Sequence[str]],
        teacher: Optional[Sequence[str]],
    ) -> None:
        """Find the columns by the class names.

        Args:
            student (Sequence[str], optional): Names in the training set.
            teacher (Sequence[str], optional): Names the teacher was trained
                with.

        Raises:
            ValueError: If names are not known, not there, there twice, or
                fewer than two classes are shared.
        """
        if student is None:
            raise ValueError(
                "class_map needs the student's class names: train through "
                "MMEngine's Runner, on a data set with metainfo"
            )
        if teacher is None:
            raise ValueError(
                "class_map needs the teacher's class names, which its "
                'checkpoint does not have; give them as '
                'teacher=dict(..., classes=[...])'
            )
        students, teachers = list(student), list(teacher)
        pairs = (
            {n: n for n in students if n in teachers}
            if isinstance(self.pairs, str)
            else self.pairs
        )
        for who, names, known in (
            ('training set', list(pairs), students),
            ("teacher's checkpoint", list(pairs.values()), teachers),
        ):
            missing = [n for n in names if n not in known]
            if missing:
                raise ValueError(
                    f'class_map names {missing[0]!r}, which is no class of '
                    f'the {who}; it has {", ".join(known)}'
                )
            if len(set(names)) < len(names):
                raise ValueError(
                    f'class_map names a class of the {who} twice: {names}'
                )
        if len(pairs) < 2:
            raise ValueError(
                f'student and teacher share {len(pairs)} classes, too few to '
                f'compare. The training set has {", ".join(students)}; the '
                f'teacher has {", ".join(teachers)}. Give class_map a dict of '
                'names if they are spelled differently.'
            )
        self.names = list(pairs)
        self.sizes = len(students), len(teachers)
        self.student = torch.tensor([students.index(n) for n in pairs])
        self.teacher = torch.tensor(
            [teachers.index(n) for n in pairs.values()]
        )
        # A student's class to its column; one past the last is background.
        self.labels = torch.full((len(students) + 1,), -1)
        self.labels[self.student] = torch.arange(len(pairs))
        self.labels[-1] = len(pairs)

    @property
    def count(self) -> int:
        """How many classes are compared."""
        assert self.student is not None
        return len(self.student)

    def columns(
        self, student: Tensor, teacher: Tensor, background: bool
    ) -> Tuple[Tensor, Tensor]:
        """The shared columns of logits.

        Args:
            student (Tensor): Logits, shape (N, C) or, with background as the
                last column, (N, C + 1).
            teacher (Tensor): Likewise with its own number of classes.
            background (bool): Whether there is that column; it is kept.

        Raises:
            ValueError: If there are more or fewer classes than names.
        """
        sides = (
            ('student', student, self.student, self.sizes[0]),
            ('teacher', teacher, self.teacher, self.sizes[1]),
        )
        chosen: List[Tensor] = []
        for who, logits, index, size in sides:
            assert index is not None
            if logits.shape[1] != size + int(background):
                raise ValueError(
                    f'the {who} has logits of '
                    f'{logits.shape[1] - int(background)} classes, but '
                    f'{size} class names'
                )
            index = index.to(logits.device)
            if background:
                index = torch.cat([index, index.new_tensor([size])])
            chosen.append(logits[:, index])
        return chosen[0], chosen[1]

    def from_teacher(self, labels: Tensor) -> Tensor:
        """The student's classes of the teacher's; -1 if not shared."""
        assert self.student is not None and self.teacher is not None
        student, teacher = (
            x.to(labels.device) for x in (self.student, self.teacher)
        )
        same = labels[:, None] == teacher
        return torch.where(same.any(1), student[same.float().argmax(1)], -1)

    def to_teacher(self, columns: Tensor) -> Tensor:
        """The teacher's classes of columns, which :meth:`relabel` gives."""
        assert self.teacher is not None
        return self.teacher.to(columns.device)[columns]

    def relabel(self, labels: Tensor) -> Tensor:
        """Labels as columns; -1 for classes that are not shared."""
        assert self.labels is not None
        return self.labels.to(labels.device)[labels]
