from .checkpoint import read_checkpoint

__all__ = ['read_checkpoint']
