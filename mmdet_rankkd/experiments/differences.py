"""What paired differences over seeds show, and what they do not."""

from dataclasses import dataclass
from statistics import mean, stdev
from typing import Dict, Optional, Tuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A figure of trainings less that of others with the same seeds.

    Attributes:
        by_seed (dict): The difference of each seed.
        mean (float): Their mean.
        interval (tuple, optional): 95 % interval of the mean by Student's t,
            or None of one seed.
    """

    by_seed: Dict[int, float]
    mean: float
    interval: Optional[Tuple[float, float]]

    @property
    def word(self) -> str:
        """What follows: ``'helps'`` or ``'hurts'`` if the interval is above
        or below zero, ``'no difference seen'`` if zero is in it, and
        ``'one seed'``.
        """
        if self.interval is None:
            return 'one seed'
        low, high = self.interval
        if low > 0:
            return 'helps'
        return 'hurts' if high < 0 else 'no difference seen'


def paired_difference(
    values: Dict[int, float], others: Dict[int, float]
) -> Optional[Difference]:
    """The difference of two figures over the seeds that both have.

    Args:
        values (dict): A figure, of which more is better, by seed.
        others (dict): That which it is compared with.

    Returns:
        Difference, optional: None if no seed has both.

    Raises:
        ValueError: If a figure is not finite.
    """
    seeds = sorted(set(values) & set(others))
    gains = {seed: values[seed] - others[seed] for seed in seeds}
    if not np.isfinite(list(gains.values())).all():
        raise ValueError(f'differences that are not finite: {gains}')
    if not gains:
        return None
    center = mean(gains.values())
    if len(gains) == 1:
        return Difference(gains, center, None)
    error = stdev(gains.values()) / len(gains) ** 0.5
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(gains) - 1))
    return Difference(gains, center, (center - reach, center + reach))
