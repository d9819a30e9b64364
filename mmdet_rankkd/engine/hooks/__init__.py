from .atomic_checkpoint_hook import AtomicCheckpointHook
from .balance_hook import BalanceHook
from .best_hook import BestHook
from .compile_hook import CompileHook
from .data_check_hook import DataCheckHook
from .exact_resume_hook import ExactResumeHook
from .fast_roi_align_hook import FastRoIAlignHook
from .non_finite_hook import NonFiniteHook
from .tau_hook import TauHook

__all__ = [
    'AtomicCheckpointHook',
    'BalanceHook',
    'BestHook',
    'CompileHook',
    'DataCheckHook',
    'ExactResumeHook',
    'FastRoIAlignHook',
    'NonFiniteHook',
    'TauHook',
]
