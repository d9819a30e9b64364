"""Figures of the paper from a user's own logits: numbers, picture, caption."""

from dataclasses import dataclass
from typing import Dict, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from mmdet_rankkd.losses import kendall_rank_loss, kendall_tau, kl_div_loss

from .result import Results
from .summary import figures
from .table import Table

BLUE, ORANGE = '#0072b2', '#d55e00'


@dataclass(frozen=True)
class Gradients:
    """Gradients by rank in the teacher's logits (the paper's Figure 3).

    Attributes:
        kl (ndarray): Mean size of the gradient of KL, of shape (C,), the
            teacher's highest class first; the sizes sum to 1.
        ranking (ndarray): The same of the ranking loss.
    """

    kl: np.ndarray
    ranking: np.ndarray

    def small_share(self, percent: float = 50.0) -> Dict[str, float]:
        """Share of each gradient at the teacher's lowest classes."""
        count = round(len(self.kl) * percent / 100)
        start = len(self.kl) - count
        return dict(
            kl=float(self.kl[start:].sum()),
            ranking=float(self.ranking[start:].sum()),
        )


def gradients(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, k: float = 1.0
) -> Gradients:
    """Gradients of both losses on the student's logits.

    Args:
        student (Tensor): Logits of shape (N, C).
        teacher (Tensor): Logits of shape (N, C).
        temperature (float): Of KL.
        k (float): Steepness of the ranking loss.

    Raises:
        ValueError: If shapes differ, or a gradient is zero or not finite.
    """
    order = teacher.argsort(1, descending=True)
    found = []
    for name in ('KL', 'the ranking loss'):
        leaf = student.detach().clone().requires_grad_()
        loss = (
            kl_div_loss(leaf, teacher, temperature=temperature)
            if name == 'KL'
            else kendall_rank_loss(leaf, teacher, k=k)
        )
        (gradient,) = torch.autograd.grad(loss, leaf)
        sizes = gradient.abs().gather(1, order).mean(0).double()
        total = sizes.sum()
        if not (torch.isfinite(total) and total > 0):
            raise ValueError(
                f'the gradient of {name} sums to {total.item()}; give logits '
                'that are finite and on which student and teacher differ'
            )
        found.append((sizes / total).numpy())
    return Gradients(*found)


def draw_gradients(found: Gradients) -> Figure:
    """Share of the gradient at each rank, on a logarithmic axis."""
    figure, axis = plt.subplots(figsize=(7.5, 4))
    ranks = np.arange(1, len(found.kl) + 1)
    axis.semilogy(ranks, found.kl, color=BLUE, label='KL')
    axis.semilogy(
        ranks, found.ranking, color=ORANGE, ls='--', label='ranking loss'
    )
    axis.set_title("Gradients on the student's logits")
    axis.set_xlabel("rank in the teacher's logits (1 is the highest)")
    axis.set_ylabel('share of the gradient')
    axis.grid(alpha=0.25)
    axis.legend()
    figure.tight_layout()
    return figure


def caption_gradients(found: Gradients, percent: float = 50.0) -> str:
    """What the picture shows, in numbers."""
    share = found.small_share(percent)
    return (
        f"The teacher's lowest {percent:g} % of the classes receive "
        f'{100 * share["kl"]:.1f} % of the gradient of KL and '
        f'{100 * share["ranking"]:.1f} % of that of the ranking loss.'
    )


@dataclass(frozen=True)
class Agreement:
    """How KL and tau go with accuracy over students.

    Attributes:
        accuracy (ndarray): Top-1 in percent, of shape (S,).
        kl (ndarray): Mean divergence from the teacher in nats.
        tau (ndarray): Mean of Kendall's coefficient to the teacher.
        of_kl (float): Kendall's tau-b, over students, of accuracy and -KL.
        of_tau (float): The same of accuracy and tau.
    """

    accuracy: np.ndarray
    kl: np.ndarray
    tau: np.ndarray
    of_kl: float
    of_tau: float


@torch.no_grad()
def agreement(
    students: Dict[str, Tensor], teacher: Tensor, labels: Tensor
) -> Agreement:
    """Agreement over a population of students, on the same images.

    Args:
        students (dict): Logits of shape (N, C) by name.
        teacher (Tensor): Logits of shape (N, C).
        labels (Tensor): Classes of the images, of shape (N,).

    Raises:
        ValueError: If there are fewer than two students, or shapes differ.
    """
    if len(students) < 2:
        raise ValueError(
            f'an agreement needs two students or more, got {len(students)}'
        )
    right = [
        100 * (x.argmax(1) == labels).double().mean().item()
        for x in students.values()
    ]
    kl = [kl_div_loss(x, teacher).item() for x in students.values()]
    tau = [kendall_tau(x, teacher).mean().item() for x in students.values()]
    return Agreement(
        np.array(right),
        np.array(kl),
        np.array(tau),
        float(stats.kendalltau(right, [-x for x in kl])[0]),
        float(stats.kendalltau(right, tau)[0]),
    )


def draw_agreement(found: Agreement) -> Figure:
    """A point a student: accuracy over KL, and over tau."""
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 4), sharey=True)
    axes[0].scatter(found.kl, found.accuracy, color=BLUE)
    axes[0].set_xlabel('KL to the teacher (nats)')
    axes[0].set_ylabel('top-1 (%)')
    axes[1].scatter(found.tau, found.accuracy, color=ORANGE, marker='s')
    axes[1].set_xlabel('tau to the teacher')
    for axis in axes:
        axis.grid(alpha=0.25)
    figure.suptitle('Agreement with accuracy over students')
    figure.tight_layout()
    return figure


def caption_agreement(found: Agreement) -> str:
    """What the picture shows, in numbers."""
    return (
        f'{len(found.accuracy)} students, a point each. Over them Kendall '
        f"correlation with accuracy is {found.of_kl:.2f} of KL's negative "
        f'and {found.of_tau:.2f} of tau.'
    )


@dataclass(frozen=True)
class Settings:
    """A metric of rows of a table (the paper's Figure 4, Tables 6 and 7).

    Attributes:
        metric (str): Name of the column.
        values (dict): By title of the row and by seed.
    """

    metric: str
    values: Dict[str, Dict[int, float]]


def settings(
    table: Table, results: Results, rows: Sequence[str], column: str
) -> Settings:
    """Values of rows of a sweep; those that did not run are left out.

    Args:
        table (Table): Of the sweep.
        results (Results): What ``read_results`` gives of its folder.
        rows (Sequence[str]): Titles.
        column (str): Its title.

    Raises:
        ValueError: If a row or column is not there, or none was trained.
    """
    table.find_columns([column])
    found = {
        row: figures(table, row, column, results)
        for row in table.find_rows(rows)
    }
    found = {row: values for row, values in found.items() if values}
    if not found:
        raise ValueError(
            f'no result of {", ".join(map(repr, rows))} in column {column!r}; '
            'train them with tools/sweep.py'
        )
    return Settings(column, found)


def draw_settings(found: Settings, title: str) -> Figure:
    """A line a row: its mean, and a point a seed."""
    figure, axis = plt.subplots(figsize=(7.5, 0.45 * len(found.values) + 1.6))
    for height, values in enumerate(found.values.values()):
        seeds = list(values.values())
        axis.plot(seeds, [height] * len(seeds), 'o', color=BLUE, mfc='none')
        axis.plot([float(np.mean(seeds))], [height], 'D', color=ORANGE)
    axis.set_yticks(range(len(found.values)), list(found.values))
    axis.invert_yaxis()
    axis.set_title(f'{title}; circles: seeds, diamonds: their mean')
    axis.set_xlabel(f'{found.metric} (%)')
    axis.grid(alpha=0.25)
    figure.tight_layout()
    return figure


def caption_settings(found: Settings) -> str:
    """Highest and lowest mean, and how many seeds they rest on."""
    means = {row: np.mean(list(v.values())) for row, v in found.values.items()}
    high, low = (
        max(means, key=means.__getitem__),
        min(means, key=means.__getitem__),
    )
    counts = sorted({len(v) for v in found.values.values()})
    seeds = ' or '.join(map(str, counts))
    text = (
        f'Highest: {high}, {means[high]:.1f}; lowest: {low}, '
        f'{means[low]:.1f} {found.metric}; {seeds} seed(s) each.'
    )
    if counts[0] == 1:
        text += ' One seed does not tell settings apart.'
    return text
