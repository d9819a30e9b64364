"""Checkpoints: read without executing, load, export, convert, build, write.

This room stands below the others: it imports torch, NumPy, MMEngine and this
package's registry, and none of its networks, losses or distillers.
"""

from .allow import allow_mmengine_checkpoints
from .read import read_checkpoint

__all__ = ['allow_mmengine_checkpoints', 'read_checkpoint']
