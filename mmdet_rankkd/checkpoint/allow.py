"""What MMEngine's checkpoints hold beside tensors, for ``torch.load``.

This is imported while torch is, which it must not import by itself.
"""

import pickle
from typing import Callable, List, Tuple, Union

import numpy as np
from mmengine.logging.history_buffer import HistoryBuffer

from mmdet_rankkd.compat import NUMPY_CORES, numpy_multiarray

SafeGlobal = Union[Callable, Tuple[Callable, str]]


def _history_statistic(owner: type, name: str) -> Callable:
    """Stand in for ``getattr`` where a checkpoint asks for it.

    MMEngine's ``HistoryBuffer`` is pickled with references to its own
    methods; nothing else may be looked up.
    """
    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is refused')


def safe_globals() -> List[SafeGlobal]:
    """List the harmless types that MMEngine puts into its checkpoints."""
    dtypes = {
        type(np.dtype(t))
        for t in ('bool', 'int32', 'int64', 'uint32', 'float32', 'float64')
    }
    return [
        HistoryBuffer,
        (_history_statistic, 'builtins.getattr'),
        *(
            (getattr(numpy_multiarray(), name), f'{core}.multiarray.{name}')
            for core in NUMPY_CORES
            for name in ('_reconstruct', 'scalar')
        ),
        np.ndarray,
        np.dtype,
        *dtypes,
    ]


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load`` read MMEngine's checkpoints without pickled code.

    From torch 2.6 on, it refuses types that it does not know, and MMEngine
    0.10.7 does not name its own: ``--resume`` fails. Naming them is enough.
    """
    import torch

    if hasattr(torch.serialization, 'add_safe_globals'):
        torch.serialization.add_safe_globals(safe_globals())
