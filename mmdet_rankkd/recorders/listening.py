"""The one way to listen to what a network does, and to stand in for it."""

from contextlib import contextmanager
from typing import Any, Callable, Iterator

from torch import nn


def method_of_outputs(module: nn.Module) -> str:
    """Name of the method whose result is all that a layer gives.

    ``'features'`` of a network of this package, ``'forward'`` of any other;
    other networks may have a part that is called so.

    Args:
        module (nn.Module): The layer.
    """
    return 'features' if hasattr(type(module), 'features') else 'forward'


@contextmanager
def listening(
    owner: object, name: str, callback: Callable[..., None]
) -> Iterator[None]:
    """Have a function called after each call of a method in the context.

    It is called with the result and then with the arguments of the call.
    Afterwards the owner is as it was before, whether the method was one of
    its class or had been set on the object itself. The ``forward`` of a
    module is listened to by a hook of PyTorch, behind the hooks that are
    there.

    Args:
        owner (object): Who has the method.
        name (str): Name of the method.
        callback (Callable): Takes the result and the arguments.
    """
    if name == 'forward' and isinstance(owner, nn.Module):
        handle = owner.register_forward_hook(
            lambda _, args, kwargs, result: callback(result, *args, **kwargs),
            with_kwargs=True,
        )
        try:
            yield
        finally:
            handle.remove()
        return
    method = getattr(owner, name)

    def listened(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        callback(result, *args, **kwargs)
        return result

    with replacing(owner, name, listened):
        yield


@contextmanager
def replacing(
    owner: object, name: str, function: Callable[..., Any]
) -> Iterator[None]:
    """Have a function called in place of a method in the context.

    Afterwards the owner is as it was before, as with :func:`listening`.

    Args:
        owner (object): Who has the method.
        name (str): Name of the method.
        function (Callable): Takes the arguments, without the owner.
    """
    method = getattr(owner, name)
    was_own = name in vars(owner)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if was_own:
            setattr(owner, name, method)
        else:
            delattr(owner, name)
