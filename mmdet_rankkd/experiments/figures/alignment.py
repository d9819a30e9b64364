"""Figure 7: whether the student orders the classes as the teacher does."""

from dataclasses import dataclass
from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from mmdet_rankkd.losses import kendall_tau

from ..alignment import alignment
from .base import against, count, plain, sheet


@dataclass(frozen=True)
class Alignment:
    """Ranks of students by the teacher's ranks, and tau.

    Attributes:
        classes (int): Ranks that there are.
        images (int): Those that were averaged over.
        seeds (list): Seeds of the students of each row.
        tables (dict): Counts by row, how often the student gives a rank in
            group y to a class whose rank of the teacher's is in group x; each
            column sums to 1.
        high (dict): Values by row and seed, mean tau over pairs of the
            teacher's upper half of classes.
        low (dict): The same of the lower half.
    """

    classes: int
    images: int
    seeds: List[int]
    tables: Dict[str, List[List[float]]]
    high: Dict[str, List[float]]
    low: Dict[str, List[float]]

    def draw(self) -> Figure:
        """One square a row: where it is dark, more images are."""
        figure, axes = sheet(len(self.tables), width=3.4)
        for axis, (name, table) in zip(axes, self.tables.items()):
            drawn = axis.imshow(
                100 * np.array(table),
                cmap='Blues',
                vmin=0,
                vmax=50,
                origin='lower',
                extent=(1, self.classes, 1, self.classes),
            )
            axis.grid(False)
            axis.set_title(name, fontsize=11)
            axis.set_xlabel("rank in the teacher's logits")
        axes[0].set_ylabel("rank in the student's logits")
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8, extend='max')
        bar.set_label('share of a column (%)')
        return figure

    def caption(self) -> str:
        """Tau of both halves, and the difference of the last two rows."""
        size = self.classes // len(next(iter(self.tables.values())))
        said = [
            f'{name} {np.mean(self.high[name]):.3f} and '
            f'{np.mean(self.low[name]):.3f}'
            for name in self.tables
        ]
        text = (
            f'Ranks of {self.classes} classes in groups of {size}, 1 is the '
            f'highest; {self.images} images, '
            f'{count(len(self.seeds), "seed")}. '
            "Kendall's tau to the teacher among its upper and its lower half "
            'of the classes: ' + '; '.join(said) + '.'
        )
        first, *others = self.tables
        for name in others:
            for half, values in (('upper', self.high), ('lower', self.low)):
                found = against(self.seeds, values[name], values[first])
                text += f' {name} less {first}, {half} half: {found.mean:+.3f}'
                if found.interval:
                    low, high = found.interval
                    text += f' [{low:+.3f}, {high:+.3f}]'
                text += f', {found.word}.'
        return text


def rank_alignment(
    students: Mapping[str, Sequence[Tensor]],
    teacher: Tensor,
    seeds: Sequence[int],
    group: int = 1,
) -> Alignment:
    """Alignment of rows of students with their teacher.

    Args:
        students (dict): Logits of shape (N, C) of each seed, by row.
        teacher (Tensor): Logits of shape (N, C).
        seeds (Sequence[int]): Those of each row, in their order.
        group (int): Neighbouring ranks that are taken together; a divisor of
            C.

    Raises:
        ValueError: If the classes cannot be grouped so, or a row has another
            number of students than there are seeds.
    """
    classes = teacher.shape[1]
    if classes % group:
        raise ValueError(f'{classes} classes do not make groups of {group}')
    order = teacher.argsort(1, descending=True)
    tables, high, low = {}, {}, {}
    for name, runs in students.items():
        if len(runs) != len(seeds):
            raise ValueError(
                f'{name!r} has {len(runs)} students, but there are '
                f'{len(seeds)} seeds'
            )
        mean = np.mean([alignment(x, teacher) for x in runs], 0)
        tables[name] = plain(grouped(mean, group), 3)
        halves = [half_taus(x, teacher, order) for x in runs]
        high[name], low[name] = map(list, zip(*halves))
    return Alignment(classes, len(teacher), list(seeds), tables, high, low)


def grouped(table: np.ndarray, size: int) -> np.ndarray:
    """A square of ranks as one of groups of them; columns sum as before."""
    groups = len(table) // size
    blocks = table.reshape(groups, size, groups, size)
    return blocks.sum(1).mean(2)


def half_taus(
    student: Tensor, teacher: Tensor, order: Tensor
) -> Tuple[float, float]:
    """Mean tau among the teacher's upper and lower half of the classes."""
    half = order.shape[1] // 2
    upper, lower = (
        float(
            kendall_tau(
                student.gather(1, part), teacher.gather(1, part)
            ).mean()
        )
        for part in (order[:, :half], order[:, half:])
    )
    return upper, lower
