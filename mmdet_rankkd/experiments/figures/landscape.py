"""Figure 6: the loss around trained students."""

import copy
from dataclasses import dataclass
from typing import Callable, Dict, List, TypeVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from .base import against, count, plain, sheet

Model = TypeVar('Model', bound=nn.Module)


@torch.no_grad()
def landscape(
    model: Model,
    loss: Callable[[Model], Tensor],
    radius: float = 1.0,
    points: int = 21,
    seed: int = 0,
) -> np.ndarray:
    """A loss on a plane through the weights of a model.

    The plane has two random directions, each filter of which is as long as
    the filter of the weights; biases and norms stay (Li et al., *Visualizing
    the Loss Landscape of Neural Nets*, NeurIPS 2018).

    Args:
        model (nn.Module): Model in eval mode; it is left as it was.
        loss (Callable): Loss of a model, a scalar.
        radius (float): How far the plane reaches to each side.
        points (int): Points a side, an odd number.
        seed (int): Seed of the directions.

    Returns:
        ndarray: Of shape (points, points), the model itself in the middle.

    Raises:
        ValueError: If the number of points is even or below 3, or the model
            trains.
    """
    if points < 3 or points % 2 == 0:
        raise ValueError(f'points must be odd and 3 or more, got {points}')
    if model.training:
        raise ValueError('the model trains; call eval() first')
    moved = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    weights = [p for p in moved.parameters() if p.dim() > 1]
    start = [p.clone() for p in weights]
    planes = [[direction(p, generator) for p in weights] for _ in range(2)]
    steps = np.linspace(-radius, radius, points)
    found = np.empty((points, points))
    for row, y in enumerate(steps):
        for column, x in enumerate(steps):
            for p, at, dx, dy in zip(weights, start, *planes):
                p.copy_(at + float(x) * dx + float(y) * dy)
            found[row, column] = float(loss(moved))
    return found


def direction(weights: Tensor, generator: torch.Generator) -> Tensor:
    """A random direction, each filter as long as that of the weights."""
    drawn = torch.randn(weights.shape, generator=generator)
    drawn = drawn.to(weights.device, weights.dtype)
    shape = (-1, *(1 for _ in weights.shape[1:]))
    scale = weights.flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1)
    return drawn * scale.view(shape)


def local_minima(grid: np.ndarray) -> int:
    """Points inside of a grid that are lower than their eight neighbours."""
    inside = grid[1:-1, 1:-1]
    rows, columns = grid.shape
    lower = np.ones_like(inside, dtype=bool)
    for y in (0, 1, 2):
        for x in (0, 1, 2):
            if (y, x) != (1, 1):
                near = grid[y : rows - 2 + y, x : columns - 2 + x]
                lower &= inside < near
    return int(lower.sum())


@dataclass(frozen=True)
class Landscapes:
    """Losses around students of several rows.

    Attributes:
        loss (str): What it is, in words.
        radius (float): How far the planes reach to each side, in lengths of
            the filters.
        images (int): Those that were averaged over.
        seeds (list): Seeds of the students of each row.
        grids (dict): Grids by row, the plane of each seed.
    """

    loss: str
    radius: float
    images: int
    seeds: List[int]
    grids: Dict[str, List[List[List[float]]]]

    def draw(self) -> Figure:
        """Contours of the first seed of each row, on one scale."""
        figure, axes = sheet(len(self.grids), width=3.8)
        shown = {name: np.array(runs[0]) for name, runs in self.grids.items()}
        low = min(x.min() for x in shown.values())
        high = max(x.max() for x in shown.values())
        levels = np.geomspace(max(low, 1e-3 * high), high, 16)
        points = len(next(iter(shown.values())))
        steps = np.linspace(-self.radius, self.radius, points)
        for axis, (name, grid) in zip(axes, shown.items()):
            drawn = axis.contourf(
                steps, steps, grid, levels, cmap='cividis', extend='both'
            )
            axis.contour(
                steps, steps, grid, levels, colors='k', linewidths=0.4
            )
            axis.plot(0, 0, 'w+', ms=9)
            axis.grid(False)
            axis.set_aspect('equal')
            axis.set_title(name, fontsize=11)
            axis.set_xlabel('first direction (lengths of a filter)')
        axes[0].set_ylabel('second direction')
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
        ticks = levels[::5].tolist()
        bar.set_ticks(ticks, labels=[f'{x:.3g}' for x in ticks])
        bar.set_label('loss')
        return figure

    def caption(self) -> str:
        """Local minima, and how far the loss rises, over all seeds."""
        minima = {
            name: [local_minima(np.array(g)) for g in runs]
            for name, runs in self.grids.items()
        }
        rises = {
            name: [rise(np.array(g)) for g in runs]
            for name, runs in self.grids.items()
        }
        said = [
            f'{name} has {np.mean(minima[name]):.1f} local minima, and its '
            f'loss rises by {np.mean(rises[name]):.2f} on average'
            for name in self.grids
        ]
        first, *others = self.grids
        points = len(self.grids[first][0])
        text = (
            f'{self.loss}, on {self.images} held-out images, on a plane of '
            f'{points} x {points} points through the trained student (the '
            'cross), along two random directions of filter-wise equal length, '
            'the same for both of a seed. Shown is the first seed; over '
            f'{count(len(self.seeds), "seed")}: ' + '; '.join(said) + '.'
        )
        for name in others:
            found = against(self.seeds, rises[first], rises[name])
            word = dict(helps='flatter', hurts='steeper').get(
                found.word, found.word
            )
            text += f' Rise of {name} against that of {first}: {word}.'
        return text


def rise(grid: np.ndarray) -> float:
    """Mean of a plane less its middle."""
    middle = len(grid) // 2
    return float(grid.mean() - grid[middle, middle])


def landscapes(
    models: Dict[str, List[Model]],
    loss: Callable[[Model], Tensor],
    text: str,
    images: int,
    seeds: List[int],
    radius: float = 1.0,
    points: int = 21,
) -> Landscapes:
    """Landscapes of rows of models.

    Args:
        models (dict): One a seed, by row, in eval mode.
        loss (Callable): See :func:`landscape`.
        text (str): What it is, in words.
        images (int): Those that it is averaged over.
        seeds (list): Those of each row, in their order; also of the
            directions.
        radius (float): See :func:`landscape`.
        points (int): See :func:`landscape`.
    """
    grids = {
        name: [
            plain(landscape(model, loss, radius, points, seed))
            for model, seed in zip(runs, seeds)
        ]
        for name, runs in models.items()
    }
    return Landscapes(text, radius, images, list(seeds), grids)
