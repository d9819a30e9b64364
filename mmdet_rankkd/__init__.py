"""Knowledge distillation for MMDetection with Kendall's tau ranking loss."""

from .compat import (
    hide_foreign_notes,
    register_package,
    warn_about_versions,
    when_imported,
)
from .version import __version__


def _let_torch_read_checkpoints() -> None:
    from .checkpoint.allow import allow_mmengine_checkpoints

    allow_mmengine_checkpoints()


hide_foreign_notes()
register_package()
warn_about_versions()
# Torch takes most of the time to import, and a command's help needs none.
when_imported('torch', _let_torch_read_checkpoints)

__all__ = ['__version__']
