"""What the teacher and the building of a distiller share."""

import inspect
from typing import Any, ContextManager, List, Mapping

import torch

from mmdet_rankkd.losses.base import did_you_mean


def own_random_numbers() -> ContextManager[None]:
    """Context in which drawn numbers do not move those of the training.

    Models are built on the CPU, so that its generator is all there is.
    """
    return torch.random.fork_rng(devices=[])


def check_arguments(kind: Any, config: Mapping, what: str) -> None:
    """Raise TypeError for arguments that no constructor of a class has."""
    known: List[str] = []
    for owner in inspect.getmro(kind) if inspect.isclass(kind) else ():
        constructor = vars(owner).get('__init__')
        if constructor is None:
            continue
        parameters = inspect.signature(constructor).parameters.values()
        known += [
            p.name
            for p in parameters
            if p.name != 'self'
            and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    else:
        return
    known = list(dict.fromkeys(known))
    for name in config:
        if name not in ('type', '_scope_', *known):
            raise TypeError(
                f'{what}: {kind.__name__} has no argument {name!r}'
                f'{did_you_mean(name, known)}; it has {", ".join(known)}'
            )
