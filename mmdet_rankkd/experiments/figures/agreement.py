"""Whether students that are nearer to the teacher are better ones."""

from dataclasses import dataclass
from typing import List, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from mmdet_rankkd.losses import kendall_tau, kl_div_loss

from .base import COLORS, plain, sheet

RESAMPLES = 1000


@dataclass(frozen=True)
class Agreement:
    """How KL and tau go with accuracy over students.

    Attributes:
        temperature (float): T of KL.
        images (int): Those that were averaged over.
        accuracy (list): Top-1 in percent, of shape (S,).
        kl (list): Mean divergence from the teacher, in nats times T².
        tau (list): Mean of Kendall's coefficient to the teacher.
        of_kl (float): Kendall's tau-b, over students, of accuracy and -KL.
        of_tau (float): The same of accuracy and tau.
        interval (list): 95 % interval of the second less the first, by a
            bootstrap over students.
    """

    temperature: float
    images: int
    accuracy: List[float]
    kl: List[float]
    tau: List[float]
    of_kl: float
    of_tau: float
    interval: List[float]

    def draw(self) -> Figure:
        """A point a student: accuracy over KL, and over tau."""
        figure, (left, right) = sheet(2)
        left.scatter(self.kl, self.accuracy, color=COLORS[0], alpha=0.7, s=22)
        left.set_xlabel(
            f'KL to the teacher (nats · T², T={self.temperature:g})'
        )
        left.set_ylabel('top-1 (%)')
        right.scatter(
            self.tau,
            self.accuracy,
            color=COLORS[1],
            alpha=0.7,
            s=22,
            marker='s',
        )
        right.set_xlabel("Kendall's tau to the teacher")
        right.sharey(left)
        return figure

    def caption(self) -> str:
        """Both correlations, and whether they can be told apart."""
        low, high = self.interval
        word = 'that is not told apart'
        if low > 0:
            word = 'tau goes with accuracy more closely'
        elif high < 0:
            word = 'KL goes with accuracy more closely'
        return (
            f'{len(self.accuracy)} students, a point each, on {self.images} '
            'images. Their accuracy correlates (Kendall, over students) with '
            f'-KL (T = {self.temperature:g}) by {self.of_kl:.2f} and with tau '
            f'by {self.of_tau:.2f}; the 95 % interval of the difference is '
            f'[{low:+.2f}, {high:+.2f}], by a bootstrap over students as if '
            f'they were independent: {word}.'
        )


@torch.no_grad()
def agreement(
    students: Sequence[Tensor],
    teacher: Tensor,
    labels: Tensor,
    temperature: float = 1.0,
) -> Agreement:
    """Agreement over a population of students, on the same images.

    Args:
        students (Sequence[Tensor]): Logits of shape (N, C) each.
        teacher (Tensor): Logits of shape (N, C).
        labels (Tensor): Classes of the images, of shape (N,).
        temperature (float): T of KL.

    Raises:
        ValueError: If there are fewer than three students, if all are equally
            accurate, or shapes differ.
    """
    if len(students) < 3:
        raise ValueError(
            f'an agreement needs three students or more, got {len(students)}'
        )
    right = np.array(
        [
            100 * (x.argmax(1) == labels).double().mean().item()
            for x in students
        ]
    )
    if len(set(right)) == 1:
        raise ValueError(
            f'all {len(right)} students have a top-1 of {right[0]:.1f} %: '
            'nothing goes with it'
        )
    kl = np.array(
        [kl_div_loss(x, teacher, temperature=temperature) for x in students]
    )
    tau = np.array([kendall_tau(x, teacher).mean() for x in students])

    def both(index: np.ndarray) -> List[float]:
        return [
            float(stats.kendalltau(right[index], values[index])[0])
            for values in (-kl, tau)
        ]

    of_kl, of_tau = both(np.arange(len(right)))
    draw = np.random.default_rng(0)
    drawn = np.array(
        [
            both(draw.integers(len(right), size=len(right)))
            for _ in range(RESAMPLES)
        ]
    )
    gains = drawn[:, 1] - drawn[:, 0]
    # A sample of equal students correlates with nothing.
    interval = np.nanquantile(gains, [0.025, 0.975])
    return Agreement(
        temperature,
        len(labels),
        plain(right),
        plain(kl),
        plain(tau),
        of_kl,
        of_tau,
        plain(interval),
    )
