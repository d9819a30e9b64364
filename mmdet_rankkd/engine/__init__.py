from .accuracy import BestHook, TopKAccuracy
from .tau_hook import TauHook

__all__ = ['BestHook', 'TauHook', 'TopKAccuracy']
