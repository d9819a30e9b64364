"""What it takes to have PyTorch compile the sums over pairs.

All that is here is about the compiler; without one, nothing of it is used.
Names of PyTorch that are not public, and why they are needed:

- ``torch._dynamo.mark_static``: compiles one size of a tensor as a constant,
  where ``dynamic=True`` makes a variable of each. The loop over the lanes is
  then unrolled into vector instructions.
- ``torch._check``: says the same of a size inside the compiled code, where
  the mark is not seen any more.
- ``torch._inductor.list_options``: the options that this version of the
  compiler has. One that it has not is an error, and older ones do not have
  the one that is set here.
"""

from functools import cache
from itertools import count
from typing import Callable, Dict, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

Tensors = Tuple[Tensor, ...]

# Rows that compiled code has side by side in memory: a vector unit takes one
# class of several rows at a time, without remainders and horizontal sums.
LANES = 16

_numbers = count()

#: Why a kind of device cannot compile, once that is known.
failures: Dict[str, str] = {}


def is_compiling() -> bool:
    """Whether torch.compile is tracing the caller."""
    try:
        return torch.compiler.is_compiling()
    except AttributeError:  # before torch 2.3
        return False


def give_own_allowance(function: Callable[..., object], name: str) -> None:
    """Let a function that is made anew each time be compiled by itself.

    torch.compile counts recompilations by code object, and learns by its
    name which sizes vary. Functions that shared one would use up each other's
    allowance, and take each other's sizes.

    Args:
        function (Callable): It gets a code object and a name of its own.
        name (str): What that begins with.
    """
    own_name = f'{name}_{next(_numbers)}'
    function.__code__ = function.__code__.replace(co_name=own_name)


@cache
def compiled(
    function: Callable[..., Tensors], *settings: object
) -> Callable[..., Tensors]:
    """Compile a function of tensors, once, for all N and C.

    Args:
        function (Callable): Takes tensors, and the settings after them.
        *settings (object): Constants of the compiled code, hashable.
    """

    def on_lanes(*tensors: Tensor) -> Tensors:
        return function(*tensors, *settings)

    give_own_allowance(on_lanes, 'on_lanes')
    # Fused multiply-adds: a tenth of the time on CPUs.
    option = 'cpp.enable_floating_point_contract_flag'
    options: Dict[str, Union[str, int, bool, Callable]] = {}
    if option in torch._inductor.list_options():
        options[option] = 'fast'
    return torch.compile(
        on_lanes, fullgraph=True, dynamic=True, options=options
    )


def forget_compiled() -> None:
    """Forget all compiled code, and where compilation failed.

    For example after a compiler was installed.
    """
    compiled.cache_clear()
    failures.clear()


def to_lanes(logits: Tensor) -> Tensor:
    """Logits (N, C), padded, as (B, LANES, C) without a graph."""
    from torch._dynamo import mark_static  # not before it is needed: slow

    rows, classes = logits.shape
    missing = -rows % LANES
    if missing:
        logits = F.pad(logits, (0, 0, 0, missing))
    lanes = logits.detach().reshape(-1, LANES, classes)
    mark_static(lanes, 1)
    return lanes


def check_lanes(*tensors: Tensor) -> None:
    """Let the compiler take the size of dimension 2 for a constant."""
    for x in tensors:
        torch._check(x.shape[2] == LANES)
