"""Figures 2 and 9: most channels are low-probability channels."""

from dataclasses import dataclass
from typing import Dict, List

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from .base import COLORS, DASHES, plain, sheet


@dataclass(frozen=True)
class Probabilities:
    """Histograms of the probabilities of all classes of all images.

    Attributes:
        images (int): Those that were counted.
        edges (list): Powers of ten between the bins; what is smaller is in
            the first.
        shares (dict): Share of the channels in each bin, by name.
        low (float): Probability below which a channel is called low.
        below (dict): Share of the channels below it, by name.
        mass (dict): Share of the probability that they hold, by name.
    """

    images: int
    edges: List[float]
    shares: Dict[str, List[float]]
    low: float
    below: Dict[str, float]
    mass: Dict[str, float]

    def draw(self) -> Figure:
        """A stepped line a name, on a logarithmic axis."""
        figure, (axis,) = sheet(width=7)
        for index, (name, values) in enumerate(self.shares.items()):
            axis.stairs(
                100 * np.array(values),
                10 ** np.array(self.edges),
                color=COLORS[index],
                ls=DASHES[index],
                lw=1.8,
                label=name,
            )
        axis.axvline(self.low, color='0.4', lw=1)
        axis.set_xscale('log')
        filled = np.any([np.array(x) > 1e-3 for x in self.shares.values()], 0)
        axis.set_xlim(left=10 ** self.edges[int(filled.argmax())] / 2)
        label = 'probability of a channel'
        if filled[0]:
            label += f' (at {10 ** self.edges[0]:.0e}: or less)'
        axis.set_xlabel(label)
        axis.set_ylabel('channels (%)')
        axis.legend()
        return figure

    def caption(self) -> str:
        """Shares below the line."""
        said = [
            f'{name} {100 * share:.1f} % (which hold '
            f'{100 * self.mass[name]:.1f} % of the probability)'
            for name, share in self.below.items()
        ]
        return (
            f'Channels with a probability below {self.low:g} (the line), over '
            f'{self.images} images: ' + '; '.join(said) + '.'
        )


def probabilities(
    found: Dict[str, Tensor], low: float = 0.01, smallest: float = 1e-8
) -> Probabilities:
    """Histograms of probabilities, four bins a power of ten.

    Args:
        found (dict): Probabilities by name, each of shape (N, C), such as
            ``(logits / T).softmax(1)``.
        low (float): Below which a channel is called low.
        smallest (float): Left end of the axis, a power of ten.

    Raises:
        ValueError: If rows do not sum to 1.
    """
    powers = round(-np.log10(smallest))
    edges = np.linspace(-powers, 0, 4 * powers + 1)
    shares, below, mass = {}, {}, {}
    for name, values in found.items():
        array = values.detach().double().numpy()
        if not np.allclose(array.sum(1), 1, atol=1e-4):
            raise ValueError(f'the rows of {name!r} do not sum to 1')
        places = np.log10(array.clip(smallest, 1)).ravel()
        shares[name] = plain(np.histogram(places, edges)[0] / array.size)
        is_low = array < low
        below[name] = float(is_low.mean())
        mass[name] = float(array[is_low].sum() / len(array))
    images = len(next(iter(found.values())))
    return Probabilities(images, edges.tolist(), shares, low, below, mass)
