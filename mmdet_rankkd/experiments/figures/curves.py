"""Figure 5: accuracy and both losses during the trainings."""

from dataclasses import dataclass
from typing import Dict, List, Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from mmdet_rankkd.losses import kendall_rank_loss, kl_div_loss

from .base import against, count, plain, sheet, style

Runs = Dict[str, List[List[float]]]


@dataclass(frozen=True)
class Curves:
    """What students do on held-out images, epoch by epoch.

    Attributes:
        temperature (float): T of KL.
        k (float): Steepness of the ranking loss.
        images (int): Those that were averaged over.
        seeds (list): Seeds of the students of each row.
        epochs (list): Epochs of the points.
        accuracy (dict): Top-1 in percent by row, then seed, then epoch.
        ranking (dict): The ranking loss, in [-1, 1].
        kl (dict): KL to the teacher, in nats times T².
    """

    temperature: float
    k: float
    images: int
    seeds: List[int]
    epochs: List[int]
    accuracy: Runs
    ranking: Runs
    kl: Runs

    def draw(self) -> Figure:
        """The mean over seeds, and the range of these."""
        figure, axes = sheet(3, width=3.7)
        panels = (
            ('top-1 (%)', self.accuracy),
            (f'ranking loss, k = {self.k:g}', self.ranking),
            (f'KL (nats · T²), T = {self.temperature:g}', self.kl),
        )
        for axis, (title, rows) in zip(axes, panels):
            for index, (name, runs) in enumerate(rows.items()):
                values = np.array(runs)
                look = {**style(index), 'ms': 3}
                axis.plot(self.epochs, values.mean(0), label=name, **look)
                axis.fill_between(
                    self.epochs,
                    values.min(0),
                    values.max(0),
                    color=look['color'],
                    alpha=0.15,
                    lw=0,
                )
            axis.set_xlabel('epoch')
            axis.set_ylabel(title)
        axes[0].legend()
        return figure

    def caption(self) -> str:
        """Values at a quarter of the training and at its end."""
        quarter = len(self.epochs) // 4
        text = (
            f'On {self.images} held-out images; lines are means over '
            f'{count(len(self.seeds), "seed")}, bands their range. KL with T '
            f'= {self.temperature:g}, ranking loss with k = {self.k:g}, '
            'whether they were trained on or not.'
        )
        for place in (quarter, len(self.epochs) - 1):
            said = [
                f'{name} {np.mean(self._at(self.accuracy, name, place)):.1f}'
                f' %, {np.mean(self._at(self.ranking, name, place)):.3f}, '
                f'{np.mean(self._at(self.kl, name, place)):.3f}'
                for name in self.accuracy
            ]
            text += (
                f' After epoch {self.epochs[place]} (top-1, ranking loss, '
                'KL): ' + '; '.join(said) + '.'
            )
        first, *others = self.accuracy
        for name in others:
            for place in (quarter, len(self.epochs) - 1):
                found = against(
                    self.seeds,
                    self._at(self.accuracy, name, place),
                    self._at(self.accuracy, first, place),
                )
                text += (
                    f' {name} against {first} in top-1 after epoch '
                    f'{self.epochs[place]}: {found.word}.'
                )
        return text

    def _at(self, rows: Runs, name: str, place: int) -> List[float]:
        return [run[place] for run in rows[name]]


@torch.no_grad()
def loss_curves(
    students: Mapping[str, Sequence[Sequence[Tensor]]],
    teacher: Tensor,
    labels: Tensor,
    seeds: Sequence[int],
    epochs: Sequence[int],
    temperature: float = 1.0,
    k: float = 1.0,
) -> Curves:
    """Both losses and the accuracy of students at several epochs.

    Args:
        students (dict): Logits of shape (N, C) by row, then seed, then epoch.
        teacher (Tensor): Logits of shape (N, C).
        labels (Tensor): Classes of the images, of shape (N,).
        seeds (Sequence[int]): Those of each row, in their order.
        epochs (Sequence[int]): Those of each seed, in their order.
        temperature (float): T of KL.
        k (float): Steepness of the ranking loss.

    Raises:
        ValueError: If a row has not as many seeds, or a seed not as many
            epochs, as are named.
    """
    accuracy: Runs = {}
    ranking: Runs = {}
    kl: Runs = {}
    for name, runs in students.items():
        shape = {len(run) for run in runs}
        if len(runs) != len(seeds) or shape != {len(epochs)}:
            raise ValueError(
                f'{name!r} has {len(runs)} seeds of {sorted(shape)} epochs, '
                f'but there are {len(seeds)} of {len(epochs)}'
            )
        table = np.array(
            [
                [
                    (
                        100 * (x.argmax(1) == labels).double().mean().item(),
                        kendall_rank_loss(
                            x, teacher, k=k, backend='eager'
                        ).item(),
                        kl_div_loss(
                            x, teacher, temperature=temperature
                        ).item(),
                    )
                    for x in run
                ]
                for run in runs
            ]
        )
        accuracy[name], ranking[name], kl[name] = (
            plain(table[..., i]) for i in range(3)
        )
    return Curves(
        temperature,
        k,
        len(labels),
        list(seeds),
        list(epochs),
        accuracy,
        ranking,
        kl,
    )
