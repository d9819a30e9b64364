from .accuracy import BestHook, TopKAccuracy
from .checkpoint import read_checkpoint
from .tau_hook import TauHook

__all__ = ['BestHook', 'TauHook', 'TopKAccuracy', 'read_checkpoint']
