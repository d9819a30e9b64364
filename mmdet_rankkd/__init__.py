"""Knowledge distillation for MMDetection with Kendall's tau ranking loss."""

from importlib.util import find_spec
from warnings import warn

from .version import __version__


def _let_torch_read_checkpoints() -> None:
    from .checkpoint.allow import allow_mmengine_checkpoints

    allow_mmengine_checkpoints()


def _prepare() -> None:
    from .compat import (
        hide_foreign_notes,
        register_package,
        warn_about_versions,
        when_imported,
    )

    hide_foreign_notes()
    register_package()
    warn_about_versions()
    # Torch takes most of the time to import, and a command's help needs none.
    when_imported('torch', _let_torch_read_checkpoints)


if find_spec('mmengine'):
    _prepare()
else:
    # Of two families of packages pip must not choose one.
    warn(
        'mmdet_rankkd needs MMEngine, mmcv and mmdet, and MMEngine is not '
        "installed: pip install 'mmdet_rankkd[onedl]' (the maintained "
        "builds) or 'mmdet_rankkd[openmmlab]'. mmcv has to have its ops; "
        'docs/install.md says how.',
        stacklevel=2,
    )

__all__ = ['__version__']
