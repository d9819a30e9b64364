"""Configs of strangers that are built: their types may be networks only.

MMEngine builds whatever a type names, ``subprocess.Popen`` as well.
"""

import inspect
import sys
from contextlib import suppress
from importlib import import_module
from typing import Iterator, Set

import mmengine.registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry
from torch import nn

#: Packages besides those with registries of their own.
PACKAGES = ('mmengine', 'mmcv', 'torch')


def refuse_commands(config: object) -> None:
    """Refuse types with a dot that are neither registered nor networks.

    Types without a dot are found in registries alone.

    Args:
        config (object): A part of a config that somebody else wrote.

    Raises:
        ValueError: If there is another type; the message names it.
    """
    for name in sorted(set(_types(config))):
        if '.' in name and not _is_harmless(name):
            raise ValueError(
                f'the config has the type {name!r}, which is no registered '
                'part of a model and could run commands. Do not trust it; if '
                'it is your own, write the config as a Python file'
            )


def _types(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        # Whatever a key's name: some arguments are built as types too.
        for key, inner in value.items():
            if isinstance(inner, str) and str(key).endswith('type'):
                yield inner
            yield from _types(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _types(inner)


def _is_harmless(name: str) -> bool:
    package, _, rest = name.partition('.')
    known = package in (*MODULE2PACKAGE, *PACKAGES)
    if known:
        with suppress(ImportError):
            import_module(f'{package}.registry')
    registered: Set[object] = set()
    # Imports of what they name add to the registries.
    for registry in list(vars(mmengine.registry).values()):
        if isinstance(registry, Registry):
            for part in _family(registry):
                if part.scope == package:
                    part.import_from_location()
                    if rest in part.module_dict:
                        return True
                registered |= set(part.module_dict.values())
    found = _find(name, known)
    if inspect.isclass(found) and issubclass(found, nn.Module):
        return True
    return callable(found) and found in registered


def _family(registry: Registry) -> Iterator[Registry]:
    yield registry
    for child in list(registry.children.values()):
        yield from _family(child)


def _find(name: str, known: bool) -> object:
    """What a name stands for, or None; modules of others are not imported."""
    module, _, attribute = name.rpartition('.')
    if known:
        with suppress(ImportError):
            import_module(module)
    return getattr(sys.modules.get(module), attribute, None)
