from .checkpoint import read_checkpoint
from .tau_hook import TauHook

__all__ = ['TauHook', 'read_checkpoint']
