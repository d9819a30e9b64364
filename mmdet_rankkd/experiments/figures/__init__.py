"""The figures of the paper, from a user's own logits, models and sweeps.

Each is a function that returns the numbers, a frozen dataclass, whose
``draw()`` is a matplotlib figure and whose ``caption()`` says what is seen.
Their numbers are those of the paper (PMLR 267, 2025).
"""

from .agreement import Agreement, agreement
from .alignment import Alignment, rank_alignment
from .base import Shown
from .curves import Curves, loss_curves
from .gradients import Gradients, gradients, shuffled
from .landscape import Landscapes, landscape, landscapes, local_minima
from .probabilities import Probabilities, probabilities
from .rows import Dots, Heat, Lines, gather
from .suboptimal import Suboptimal, suboptimal

__all__ = [
    'Agreement',
    'Alignment',
    'Curves',
    'Dots',
    'Gradients',
    'Heat',
    'Landscapes',
    'Lines',
    'Probabilities',
    'Shown',
    'Suboptimal',
    'agreement',
    'gather',
    'gradients',
    'landscape',
    'landscapes',
    'local_minima',
    'loss_curves',
    'probabilities',
    'rank_alignment',
    'shuffled',
    'suboptimal',
]
