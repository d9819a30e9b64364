"""Backbones and necks that torch.compile makes faster."""

import logging
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn

from mmdet_rankkd.distillers.base import BaseDistiller
from mmdet_rankkd.ops.compiler import give_own_allowance
from mmdet_rankkd.recorders.listening import method_of_outputs
from mmdet_rankkd.registry import HOOKS

from .tau_hook import student_of, teacher_of, unwrapped

#: Parts of a model that are compiled.
PARTS = ('backbone', 'neck')


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile backbone and neck of the student and of its teacher.

    By ``torch.compile``, each by itself, so that heads, losses and data stay
    as they are and what compiles is little. Results are the same but for
    rounding; checkpoints and their keys do not change. A student that trains
    without a teacher is compiled too. The first steps take longer, also those
    of a second size of images and of the first validation; tests without a
    training are not compiled::

        custom_hooks = [dict(type='mmdet_rankkd.CompileHook')]

    MMEngine's ``compile=True`` compiles the whole step instead, with heads,
    losses and data; one of the two is refused.

    Losses may compare the outputs of a backbone or neck, and what ``features``
    of a network of this package gives, not other layers inside of them.

    Args:
        teacher (bool): Compile the teacher too.
        **options (Any): Those of ``torch.compile``, such as ``mode``,
            ``dynamic`` or ``backend``.

    Raises:
        ValueError: Before training, if a loss compares a layer inside of what
            is compiled, the model has neither backbone nor neck or one with
            a ``forward`` set on it, or ``compile`` is set as well.
        RuntimeError: Before training, if nothing can be compiled here.
    """

    def __init__(self, teacher: bool = True, **options: Any) -> None:
        self.teacher = teacher
        self.options = options

    def before_train(self, runner: Runner) -> None:
        """Compile, once; the student is the one that is trained."""
        if runner.cfg.get('compile'):
            raise ValueError(
                'CompileHook compiles parts of what compile=True compiles; '
                'leave one of the two out of the config'
            )
        model = unwrapped(runner.model)
        student = student_of(model)
        models = {'student': student}
        teacher = teacher_of(model) if self.teacher else None
        if teacher is not None:
            models['teacher'] = teacher
        if isinstance(model, BaseDistiller):
            refuse_layers(model, list(models))
        keep_buffers()
        try_compiler(next(student.parameters()).device, self.options)
        done = [
            f"the {role}'s {part}"
            for role, found in models.items()
            for part in compile_parts(found, self.options)
        ]
        print_log(
            f'torch.compile: {", ".join(done)}; the first steps take longer',
            'current',
            logging.INFO,
        )


class Compiled:
    """Stands in for a method of a module, compiled.

    Copies and pickles of the module have one that is theirs.

    Args:
        module (nn.Module): The module.
        name (str): Name of its method.
        options (dict): Options of ``torch.compile``.
    """

    def __init__(
        self, module: nn.Module, name: str, options: Dict[str, Any]
    ) -> None:
        self.facts = (module, name, options)
        method = getattr(type(module), name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return method(module, *args, **kwargs)

        # Else student and teacher of one class would share them.
        give_own_allowance(call, name)
        self.run: Callable[..., Any] = torch.compile(call, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    def __reduce__(self) -> Tuple[type, tuple]:
        return Compiled, self.facts


def compile_parts(model: nn.Module, options: Dict[str, Any]) -> List[str]:
    """Compile backbone and neck of a model in place.

    Of a network of this package ``features`` is compiled, which recorders
    listen to, and of others ``forward``.

    Args:
        model (nn.Module): A detector or classifier.
        options (dict): Options of ``torch.compile``.

    Returns:
        list[str]: Names of the parts that it has.

    Raises:
        ValueError: If it has none, or one has a method that was set on it.
    """
    parts: Dict[str, Optional[nn.Module]] = {
        name: getattr(model, name, None) for name in PARTS
    }
    found = {n: part for n, part in parts.items() if part is not None}
    if not found:
        raise ValueError(
            f'CompileHook compiles {" and ".join(PARTS)}, and a '
            f'{type(model).__name__} has neither. Leave it out of custom_hooks'
        )
    for part in found.values():
        name = method_of_outputs(part)
        own = vars(part).get(name)
        if isinstance(own, Compiled):
            continue
        if own is not None:
            raise ValueError(
                f'CompileHook: a {type(part).__name__} has a {name} that was '
                'set on it, as activation_checkpointing does, which would be '
                'lost. Leave one of the two out'
            )
        setattr(part, name, Compiled(part, name, options))
    return list(found)


def keep_buffers() -> None:
    """Have compiled passes go back more than once, for single gradients.

    By default what such a pass has saved is used up by its way back, and
    ``retain_graph=True`` fails, by which ``BalanceHook`` and ``rankkd
    doctor`` take the gradient of each term.
    """
    from torch._functorch import config  # not before it is needed: slow

    if hasattr(config, 'donated_buffer'):
        config.donated_buffer = False


def refuse_layers(model: BaseDistiller, roles: Sequence[str]) -> None:
    """Raise ValueError if a recorder's layer is inside of a compiled part.

    The compiler sees nobody who listens there.

    Args:
        model (BaseDistiller): What distils.
        roles (Sequence[str]): ``'student'`` and ``'teacher'``, who of them
            is compiled.
    """
    for recorder in model.recorders.values():
        layers: Dict[str, str] = getattr(recorder, 'layers', {})
        for role, layer in layers.items():
            part, dot, _ = layer.partition('.')
            if role in roles and dot and part in PARTS:
                raise ValueError(
                    f'CompileHook: the losses of features compare {layer!r} '
                    f'of the {role}, inside of the {part}, which would be '
                    f'compiled. Compare {part!r} with features=dict(layer='
                    f'{part!r}), or leave CompileHook out of custom_hooks'
                )


def try_compiler(device: torch.device, options: Dict[str, Any]) -> None:
    """Compile an addition.

    Args:
        device (torch.device): Where.
        options (dict): Options of ``torch.compile``.

    Raises:
        RuntimeError: If that fails.
    """
    try:
        torch.compile(lambda x: x + 1, **options)(torch.zeros(8).to(device))
    except Exception as error:
        raise RuntimeError(
            f'CompileHook: torch.compile does not work here on {device}. It '
            'needs a C++ compiler (CPU) or Triton (CUDA), and options that '
            f'it has, not {options}. Leave the hook out of custom_hooks to '
            f'train without. The reason given: {str(error).strip()[:500]}'
        ) from error
