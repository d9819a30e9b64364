"""Figures 4 and 8, Tables 6 and 7: settings against each other."""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure

from ..result import Results
from ..summary import figures, short
from ..table import Table
from .base import COLORS, against, count, listed, sheet, spread, style

WORDS = ('helps', 'hurts', 'no difference seen', 'one seed')


@dataclass(frozen=True)
class Gathered:
    """A metric of rows of a table, over the seeds that all of them have.

    Attributes:
        metric (str): Its name, with its unit.
        seeds (list): Seeds of each row.
        values (dict): Values by row, one a seed.
    """

    metric: str
    seeds: List[int]
    values: Dict[str, List[float]]

    def mean(self, row: str) -> float:
        """Mean of a row."""
        return float(np.mean(self.values[row]))

    def compared(self, row: str, other: str) -> str:
        """Difference, interval and word."""
        found = against(self.seeds, self.values[row], self.values[other])
        return short(found, 1)

    def sorted_by_word(self, rows: Sequence[str], base: str) -> str:
        """What rows are against a base: which help, which hurt."""
        words: Dict[str, List[str]] = {word: [] for word in WORDS}
        for row in rows:
            if row != base:
                found = against(
                    self.seeds, self.values[row], self.values[base]
                )
                words[found.word].append(row)
        said = [f'{w}: {listed(r)}' for w, r in words.items() if r]
        return (
            f'Against {base} ({self.mean(base):.1f}), by the 95 % interval of '
            f'the paired difference of {count(len(self.seeds), "seed")}: '
            + '; '.join(said)
            + '.'
        )


def gather(
    table: Table,
    results: Results,
    rows: Sequence[str],
    column: str,
    metric: str,
) -> Gathered:
    """Figures of rows of a table.

    Args:
        table (Table): Table of the rows.
        results (Results): What ``read_results`` gives of its folder.
        rows (Sequence[str]): Titles.
        column (str): Its title.
        metric (str): Name of the figure with its unit.

    Raises:
        ValueError: If a row or column is not there, or no seed has all rows.
    """
    table.find_columns([column])
    found = {
        row: figures(table, row, column, results)
        for row in table.find_rows(rows)
    }
    seeds = sorted(set.intersection(*(set(x) for x in found.values())))
    if not seeds:
        lacking = [row for row, values in found.items() if not values]
        raise ValueError(
            f'no seed has all of the rows {", ".join(map(repr, rows))} in '
            f'column {column!r}'
            + (f'; nothing ran of {lacking}' if lacking else '')
        )
    values = {row: [x[seed] for seed in seeds] for row, x in found.items()}
    return Gathered(metric, seeds, values)


@dataclass(frozen=True)
class Lines(Gathered):
    """A metric over settings.

    Attributes:
        base (str): Row that the others are compared with.
        panels (dict): Lines by label of the x axis and name, each of points
            ``[x, row]``.
        log (bool): Whether x axes are logarithmic.
    """

    base: str
    panels: Dict[str, Dict[str, List[Tuple[float, str]]]]
    log: bool = False

    def draw(self) -> Figure:
        """Means with their 95 % intervals; the base's as a band."""
        figure, axes = sheet(len(self.panels))
        for axis, (label, lines) in zip(axes, self.panels.items()):
            mean, low, high = spread(self.values[self.base])
            axis.axhline(mean, color='0.35', lw=1, label=self.base)
            axis.axhspan(low, high, color='0.35', alpha=0.12, lw=0)
            for index, (name, points) in enumerate(lines.items()):
                found = np.array([spread(self.values[r]) for _, r in points])
                axis.errorbar(
                    [x for x, _ in points],
                    found[:, 0],
                    np.abs(found[:, 1:] - found[:, :1]).T,
                    capsize=3,
                    label=name,
                    **style(index),
                )
            axis.set_xlabel(label)
            if self.log:
                axis.set_xscale('log')
                ticks = [x for line in lines.values() for x, _ in line]
                axis.set_xticks(ticks, [f'{x:g}' for x in ticks])
                axis.minorticks_off()
            axis.legend(fontsize=9)
        axes[0].set_ylabel(self.metric)
        for axis in axes[1:]:
            axis.sharey(axes[0])
        return figure

    def caption(self) -> str:
        """Which settings differ from the base."""
        rows = [
            row
            for lines in self.panels.values()
            for points in lines.values()
            for _, row in points
        ]
        return (
            'Means and their 95 % intervals (the band: '
            f'{self.base}). '
            + self.sorted_by_word(list(dict.fromkeys(rows)), self.base)
        )


@dataclass(frozen=True)
class Heat(Gathered):
    """A metric over pairs of settings.

    Attributes:
        base (str): Row that the others are compared with.
        panels (dict): Cells ``[x, y, row]`` by names of both settings,
            ``'x, y'``.
    """

    base: str
    panels: Dict[str, List[Tuple[float, float, str]]]

    def draw(self) -> Figure:
        """A square a pair of settings, with the mean of each cell."""
        figure, axes = sheet(len(self.panels))
        means = [
            self.mean(r) for cells in self.panels.values() for *_, r in cells
        ]
        for axis, (names, cells) in zip(axes, self.panels.items()):
            columns = sorted({x for x, _, _ in cells})
            rows = sorted({y for _, y, _ in cells})
            grid = np.full((len(rows), len(columns)), np.nan)
            for x, y, row in cells:
                grid[rows.index(y), columns.index(x)] = self.mean(row)
            drawn = axis.imshow(
                grid,
                cmap='cividis',
                vmin=min(means),
                vmax=max(means),
                origin='lower',
                aspect='auto',
            )
            middle = (min(means) + max(means)) / 2
            for (j, i), value in np.ndenumerate(grid):
                color = 'white' if value < middle else 'black'
                axis.text(i, j, f'{value:.1f}', ha='center', color=color)
            axis.grid(False)
            axis.set_xticks(range(len(columns)), [f'{x:g}' for x in columns])
            axis.set_yticks(range(len(rows)), [f'{y:g}' for y in rows])
            x_name, y_name = names.split(', ')
            axis.set_xlabel(x_name)
            axis.set_ylabel(y_name)
        figure.colorbar(drawn, ax=axes).set_label(self.metric)
        return figure

    def caption(self) -> str:
        """Range of the means, and which settings differ from the base."""
        rows = list(
            dict.fromkeys(
                row for cells in self.panels.values() for *_, row in cells
            )
        )
        means = [self.mean(row) for row in rows]
        return (
            f'Means, from {min(means):.1f} to {max(means):.1f}. '
            + self.sorted_by_word(rows, self.base)
        )


@dataclass(frozen=True)
class Dots(Gathered):
    """A metric of rows, seed by seed.

    Attributes:
        pairs (list): ``[row, other]`` that are compared.
    """

    pairs: List[Tuple[str, str]]

    def draw(self) -> Figure:
        """A line a row: a circle a seed, and their mean."""
        height = 0.42 * len(self.values) + 1
        figure, (axis,) = sheet(width=7, height=height)
        for at, values in enumerate(self.values.values()):
            axis.plot(
                values, [at] * len(values), 'o', color=COLORS[0], mfc='none'
            )
            axis.plot([float(np.mean(values))], [at], 'D', color=COLORS[1])
        axis.set_yticks(range(len(self.values)), list(self.values))
        axis.set_ylim(len(self.values) - 0.5, -0.5)
        axis.set_xlabel(self.metric)
        return figure

    def caption(self) -> str:
        """Means and comparisons."""
        said = [f'{row} {self.mean(row):.1f}' for row in self.values]
        text = (
            f'Circles: {count(len(self.seeds), "seed")}; diamonds: their '
            f'mean, {", ".join(said)}.'
        )
        compared = [
            f'{row} against {other}: {self.compared(row, other)}'
            for row, other in self.pairs
        ]
        return f'{text} {"; ".join(compared)}.' if compared else text
