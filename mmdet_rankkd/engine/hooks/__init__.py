from .atomic_checkpoint_hook import AtomicCheckpointHook
from .best_hook import BestHook
from .exact_resume_hook import ExactResumeHook
from .non_finite_hook import NonFiniteHook
from .tau_hook import TauHook

__all__ = [
    'AtomicCheckpointHook',
    'BestHook',
    'ExactResumeHook',
    'NonFiniteHook',
    'TauHook',
]
