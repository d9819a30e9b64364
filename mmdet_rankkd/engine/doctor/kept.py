"""Bytes of tensors that a forward pass keeps for the way back."""

from contextlib import contextmanager
from typing import Dict, Iterator, Set

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


class Kept:
    """Counts what each part of a step keeps for the way back.

    It is most of what a training needs beside weights, their gradients and
    the optimizer, and the same on every device. A tensor is counted once, for
    the part that keeps it first, and weights are not counted.

    Args:
        model (nn.Module): Whose weights are left out.

    Attributes:
        bytes (dict): Bytes of each part by its name.
    """

    def __init__(self, model: nn.Module) -> None:
        self.bytes: Dict[str, int] = {}
        weights = [*model.parameters(), *model.buffers()]
        self.seen: Set[int] = {storage_of(x) for x in weights}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is kept in the context, but for parts within it."""
        self.bytes.setdefault(name, 0)

        def pack(tensor: Tensor) -> Tensor:
            if storage_of(tensor) not in self.seen:
                self.seen.add(storage_of(tensor))
                self.bytes[name] += tensor.untyped_storage().nbytes()
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            yield


def storage_of(tensor: Tensor) -> int:
    """Address of the memory that a tensor is a view of."""
    return tensor.untyped_storage().data_ptr()


def weight_bytes(module: nn.Module) -> int:
    """Bytes of the parameters and buffers of a module."""
    return sum(x.nbytes for x in [*module.parameters(), *module.buffers()])
