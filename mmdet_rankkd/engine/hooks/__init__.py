from .best_hook import BestHook
from .tau_hook import TauHook

__all__ = ['BestHook', 'TauHook']
