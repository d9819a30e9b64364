"""What all figures share: how they look, and the words of their captions."""

from typing import List, Protocol, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..differences import Difference, paired_difference

#: Okabe and Ito's colours, which colour-blind readers tell apart.
COLORS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
MARKERS = ('o', 's', '^', 'D', 'v', 'P')
DASHES = ('-', '--', '-.', ':', '-', '--')


class Shown(Protocol):
    """The numbers of a figure."""

    def draw(self) -> Figure:
        """The picture, without a title."""

    def caption(self) -> str:
        """What is seen, in numbers; a sentence or more."""


def sheet(
    columns: int = 1, width: float = 4.6, height: float = 3.6
) -> Tuple[Figure, List[Axes]]:
    """A white figure with axes side by side, of a size in inches each."""
    figure = Figure((columns * width, height), layout='constrained')
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[['top', 'right']].set_visible(False)
    return figure, axes


def style(index: int) -> dict:
    """Colour, dashes and marker of the line of an index."""
    at = index % len(COLORS)
    return dict(color=COLORS[at], ls=DASHES[at], marker=MARKERS[at], ms=5)


def against(
    seeds: Sequence[int], values: Sequence[float], others: Sequence[float]
) -> Difference:
    """The paired difference of figures of the same seeds.

    Raises:
        ValueError: If there is no seed, or a figure is not finite.
    """
    found = paired_difference(
        dict(zip(seeds, values)), dict(zip(seeds, others))
    )
    if found is None:
        raise ValueError('there is no seed that both have')
    return found


def spread(values: Sequence[float]) -> Tuple[float, float, float]:
    """Mean, and the 95 % interval of it; of one value that value."""
    found = against(range(len(values)), values, [0.0] * len(values))
    return (found.mean, *(found.interval or (found.mean, found.mean)))


def count(number: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f'{number} {noun}' + ('' if number == 1 else 's')


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(words) < 2:
        return ''.join(words)
    return ', '.join(words[:-1]) + ' and ' + words[-1]


def plain(values: np.ndarray, digits: int = 5) -> list:
    """An array as lists of floats of so many significant digits."""
    array = np.asarray(values, dtype=float)
    rounded = [float(f'{x:.{digits}g}') for x in array.ravel()]
    return np.array(rounded).reshape(array.shape).tolist()
