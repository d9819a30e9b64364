"""Knowledge distillation for MMDetection with Kendall's tau ranking loss."""

from .checkpoint.read import allow_mmengine_checkpoints
from .compat import (
    hide_foreign_notes,
    register_package,
    warn_about_versions,
)
from .version import __version__

hide_foreign_notes()
register_package()
warn_about_versions()
allow_mmengine_checkpoints()

__all__ = ['__version__']
