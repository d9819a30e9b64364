"""Figure 3: gradients of KL and of the ranking loss by channel."""

from dataclasses import dataclass
from typing import List, Tuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from mmdet_rankkd.losses import kendall_rank_loss, kl_div_loss

from .base import COLORS, plain, sheet


@dataclass(frozen=True)
class Gradients:
    """Sizes of both gradients by rank in the teacher's logits.

    Attributes:
        temperature (float): T of KL.
        k (float): Steepness of the ranking loss.
        rows (int): Rows of logits that were averaged over.
        kl (list): Mean size of the gradient of KL on the student's logits,
            of shape (C,), the teacher's highest class first, as a share: the
            sizes sum to 1.
        ranking (list): The same of the ranking loss.
    """

    temperature: float
    k: float
    rows: int
    kl: List[float]
    ranking: List[float]

    def small_share(self, percent: float = 50.0) -> Tuple[float, float]:
        """Shares of KL's and the ranking loss's gradient at low classes.

        Args:
            percent (float): How many of the teacher's lowest classes.
        """
        start = len(self.kl) - round(len(self.kl) * percent / 100)
        return sum(self.kl[start:]), sum(self.ranking[start:])

    def draw(self) -> Figure:
        """Share of the gradient at each rank, on a logarithmic axis."""
        figure, (axis,) = sheet(width=7)
        ranks = range(1, len(self.kl) + 1)
        name = f'KL, T = {self.temperature:g}'
        axis.semilogy(ranks, self.kl, color=COLORS[0], label=name)
        name = f'ranking loss, k = {self.k:g}'
        axis.semilogy(
            ranks, self.ranking, color=COLORS[1], ls='--', label=name
        )
        axis.axhline(1 / len(self.kl), color='0.4', lw=1)
        axis.set_xlabel("rank in the teacher's logits (1 is the highest)")
        axis.set_ylabel('share of the gradient')
        axis.legend()
        return figure

    def caption(self) -> str:
        """Shares of the lower half, and of the highest class."""
        kl, ranking = (100 * x for x in self.small_share())
        return (
            f"The lower half of the teacher's {len(self.kl)} classes receives "
            f'{kl:.1f} % of the gradient of KL (T = {self.temperature:g}) and '
            f'{ranking:.1f} % of that of the ranking loss (k = {self.k:g}); '
            f'the highest class {100 * self.kl[0]:.1f} % and '
            f'{100 * self.ranking[0]:.1f} %. Mean absolute values over '
            f'{self.rows} rows of logits, as shares; the horizontal line is '
            'an equal share.'
        )


def gradients(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, k: float = 1.0
) -> Gradients:
    """Gradients of both losses on the student's logits.

    The paper's student has random logits "of the same scale as those of the
    teacher": :func:`shuffled` of the teacher's.

    Args:
        student (Tensor): Logits of shape (N, C).
        teacher (Tensor): Logits of shape (N, C).
        temperature (float): T of KL.
        k (float): Steepness of the ranking loss.

    Raises:
        ValueError: If shapes differ, or a gradient is zero or not finite.
    """
    order = teacher.argsort(1, descending=True)
    leaf = student.detach().clone().requires_grad_()
    losses = {
        'KL': kl_div_loss(leaf, teacher, temperature=temperature),
        'the ranking loss': kendall_rank_loss(
            leaf, teacher, k=k, backend='eager'
        ),
    }
    found = []
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, leaf)
        sizes = gradient.abs().gather(1, order).double().mean(0)
        total = sizes.sum()
        if not (torch.isfinite(total) and total > 0):
            raise ValueError(
                f'the gradient of {name} sums to {total.item()}; give logits '
                'that are finite and on which student and teacher differ'
            )
        found.append(plain((sizes / total).numpy()))
    return Gradients(temperature, k, len(student), *found)


def shuffled(logits: Tensor, seed: int = 0) -> Tensor:
    """Logits whose classes are shuffled in each row.

    Args:
        logits (Tensor): Shape (N, C).
        seed (int): Seed of the shuffling.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(logits.shape, generator=generator).argsort(1)
    return logits.gather(1, order)
