"""Figure 1: a smaller KL divergence, and the wrong class."""

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mmdet_rankkd.losses import kl_div_loss

from .base import COLORS, plain, sheet


@dataclass(frozen=True)
class Suboptimal:
    """How often the student that is nearer to the teacher is the wrong one.

    Attributes:
        temperature (float): T of the divergence.
        images (int): Those that were compared.
        students (int): Those that were compared, in pairs.
        pairs (int): Pairs of students, over all images that the teacher gets
            right, of which exactly one is right.
        suboptimal (int): Those in which the wrong one has the smaller KL.
        classes (list): Names of the classes of the example.
        example (dict): Probabilities of these classes at T = 1 in the image
            in which the wrong student is nearest by comparison: of
            ``'teacher'``, ``'Student 1'`` (wrong) and ``'Student 2'``.
        kl (list): Divergence of Student 1 and of Student 2, in nats times T².
    """

    temperature: float
    images: int
    students: int
    pairs: int
    suboptimal: int
    classes: List[str]
    example: Dict[str, List[float]]
    kl: List[float]

    def draw(self) -> Figure:
        """Probabilities of the example."""
        figure, (axis,) = sheet(width=7)
        for index, (name, values) in enumerate(self.example.items()):
            axis.bar(
                np.arange(len(values)) + 0.27 * (index - 1),
                values,
                0.25,
                color=COLORS[index],
                hatch=('', '//', '..')[index],
                edgecolor='white',
                label=name,
            )
        axis.set_xticks(range(len(self.classes)), self.classes)
        axis.set_xlabel("class, in the teacher's order")
        axis.set_ylabel('probability, T = 1')
        axis.legend()
        return figure

    def caption(self) -> str:
        """The example, and how common such pairs are."""
        share = self.suboptimal / self.pairs
        text = (
            f'Of {self.pairs:,} pairs of students of which one is right ('
            f'{self.students} students, {self.images} images, the teacher is '
            f'right), the wrong one has the smaller KL (T = '
            f'{self.temperature:g}) in {self.suboptimal:,}, that is '
            f'{100 * share:.1f} %.'
        )
        if self.kl:
            first, second = self.kl
            text += (
                ' Shown: the image in which it is nearest by comparison. '
                f'Student 1, KL {first:.3f}, is wrong; Student 2, KL '
                f'{second:.3f}, is right.'
            )
        return text


@torch.no_grad()
def suboptimal(
    students: Sequence[Tensor],
    teacher: Tensor,
    labels: Tensor,
    classes: Optional[Sequence[str]] = None,
    temperature: float = 1.0,
    shown: int = 5,
) -> Suboptimal:
    """Compare all pairs of students, on the same images.

    Args:
        students (Sequence[Tensor]): Logits of shape (N, C) each.
        teacher (Tensor): Logits of shape (N, C).
        labels (Tensor): Classes of the images, of shape (N,).
        classes (Sequence[str], optional): Their names; numbers by default.
        temperature (float): T of the divergence.
        shown (int): Classes of the example: the teacher's highest. That
            which the wrong student takes is added.

    Raises:
        ValueError: If shapes differ, or no pair has exactly one student that
            is right.
    """
    divergences = torch.stack(
        [
            kl_div_loss(x, teacher, temperature=temperature, reduction='none')
            for x in students
        ]
    )
    right = torch.stack([x.argmax(1) == labels for x in students])
    known = teacher.argmax(1) == labels
    # Shape (wrong student, right student, image).
    pairs = ~right[:, None] & right[None] & known
    if not pairs.any():
        raise ValueError(
            f'in no image is one of {len(students)} students right and '
            'another wrong'
        )
    ahead = divergences[None] - divergences[:, None]
    bad = pairs & (ahead > 0)
    example: Dict[str, List[float]] = {}
    kl: List[float] = []
    names: List[str] = []
    if bad.any():
        ratio = divergences[None] / divergences[:, None]
        place = int(ratio.masked_fill(~bad, 0).argmax())
        first, second, image = map(int, np.unravel_index(place, bad.shape))
        rows = {
            'teacher': teacher[image],
            'Student 1': students[first][image],
            'Student 2': students[second][image],
        }
        chosen = teacher[image].argsort(descending=True)[:shown].tolist()
        taken = int(rows['Student 1'].argmax())
        chosen += [] if taken in chosen else [taken]
        example = {
            name: plain(row.softmax(0)[chosen].numpy())
            for name, row in rows.items()
        }
        kl = plain(divergences[[first, second], image].numpy())
        names = [classes[i] if classes else str(i) for i in chosen]
    return Suboptimal(
        temperature,
        len(labels),
        len(students),
        int(pairs.sum()),
        int(bad.sum()),
        names,
        example,
        kl,
    )
