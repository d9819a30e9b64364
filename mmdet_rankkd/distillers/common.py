"""What the teacher and the building of a distiller share."""

import inspect
import math
from collections.abc import Sequence
from typing import (
    Any,
    ContextManager,
    Dict,
    Mapping,
    Optional,
    Union,
    get_args,
    get_origin,
)

import torch

from mmdet_rankkd.losses.base import did_you_mean, is_number


def own_random_numbers(
    device: Optional[torch.device] = None,
) -> ContextManager[None]:
    """Context in which drawn numbers do not move those of the training.

    Args:
        device (torch.device, optional): Device on which numbers are drawn
            beside the CPU. Models are built on the CPU, so that its generator
            is all there is by default.
    """
    is_other = device is not None and device.type == 'cuda'
    return torch.random.fork_rng(devices=[device] if is_other else [])


def parameters_of(kind: Any) -> Optional[Dict[str, inspect.Parameter]]:
    """Arguments of a class, those of its bases that it passes on as well.

    Returns:
        dict, optional: By name; None if any name is taken.
    """
    known: Dict[str, inspect.Parameter] = {}
    for owner in inspect.getmro(kind) if inspect.isclass(kind) else ():
        constructor = vars(owner).get('__init__')
        if constructor is None:
            continue
        parameters = inspect.signature(constructor).parameters.values()
        for p in parameters:
            if p.name != 'self' and p.kind not in (
                p.VAR_KEYWORD,
                p.VAR_POSITIONAL,
            ):
                known.setdefault(p.name, p)
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            return known
    return None


def check_arguments(kind: Any, config: Mapping, what: str) -> None:
    """Raise TypeError for arguments that no constructor of a class has.

    Also for those that it needs and that are not there.
    """
    parameters = parameters_of(kind)
    if parameters is None:
        return
    known = list(parameters)
    for name in config:
        if name not in ('type', '_scope_', *known):
            raise TypeError(
                f'{what}: {kind.__name__} has no argument {name!r}'
                f'{did_you_mean(name, known)}; it has {", ".join(known)}'
            )
    lacking = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in config
    ]
    if lacking:
        raise TypeError(f'{what}: {kind.__name__} needs {", ".join(lacking)}')


def check_values(kind: Any, config: Mapping, what: str) -> None:
    """Raise an error for numbers and lists that are none.

    Args:
        kind (type): Whose constructor says what each argument is.
        config (Mapping): Arguments by name.
        what (str): How to name them in messages.

    Raises:
        TypeError: If a number or a list is something else.
        ValueError: If a number is not finite.
    """
    for name, parameter in (parameters_of(kind) or {}).items():
        if name in config:
            _check_value(config[name], parameter.annotation, f'{what}: {name}')


def _check_value(value: Any, annotation: Any, what: str) -> None:
    inner = get_args(annotation)
    if get_origin(annotation) is Union:
        if type(None) not in inner or len(inner) != 2:
            return
        if value is None:
            return
        annotation = next(x for x in inner if x is not type(None))
        inner = get_args(annotation)
    if annotation in (int, float):
        if not is_number(value):
            raise TypeError(f'{what} must be a number, got {value!r}')
        if not math.isfinite(value):
            raise ValueError(f'{what} must be finite, got {value!r}')
    elif get_origin(annotation) in (Sequence, list, tuple):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError(f'{what} must be a list, got {value!r}')
        for entry in value:
            _check_value(entry, inner[0], f'each of {what}')
