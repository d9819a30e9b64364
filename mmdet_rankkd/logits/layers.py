"""Feature hook: layers of student and teacher in their own passes."""

from contextlib import contextmanager
from typing import Any, Iterator, List, Optional, Sequence

import torch
from torch import Tensor

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import Features


@MODELS.register_module()
class LayerFeatures:
    """Feature maps of student and teacher for the feature losses.

    A layer is a module by its name. Of a network of this package, all that
    its ``features`` gives is taken; of any other module, its output: a map,
    or a sequence of maps such as the levels of a neck.

    Args:
        layer (str): Of the student: ``'backbone'`` of a classifier,
            ``'neck'`` of a detector, or any other.
        teacher_layer (str, optional): Of the teacher, the same by default.
        probe_size (int): Side, in pixels, of the blank image that shapes are
            found with when the model is built: that of the training for
            classifiers.
    """

    def __init__(
        self,
        layer: str = 'backbone',
        teacher_layer: Optional[str] = None,
        probe_size: int = 32,
    ) -> None:
        self.layers = dict(student=layer, teacher=teacher_layer or layer)
        self.probe_size = probe_size

    def module(self, model: Any, role: str) -> Any:
        """The layer of a model.

        Raises:
            ValueError: If there is none of that name.
        """
        name = self.layers[role]
        try:
            return model.get_submodule(name)
        except AttributeError as error:
            children = ', '.join(n for n, _ in model.named_children())
            raise ValueError(
                f'the {role}, a {type(model).__name__}, has no layer '
                f'{name!r}; it has {children}'
            ) from error

    @contextmanager
    def record(self, model: Any, role: str) -> Iterator[List[Features]]:
        """Record passes of a model inside the context."""
        module = self.module(model, role)
        found: List[Features] = []
        if hasattr(module, 'features'):
            features = module.features

            def listen(x: Tensor) -> Features:
                found.append(features(x))
                return found[-1]

            module.features = listen
            try:
                yield found
            finally:
                del module.features
            return
        handle = module.register_forward_hook(
            lambda module, args, output: found.append(as_features(output))
        )
        try:
            yield found
        finally:
            handle.remove()

    @torch.no_grad()
    def probe(
        self, model: Any, role: str, size: Optional[int] = None
    ) -> Features:
        """Features of a blank image, for their shapes."""
        training = model.training
        model.eval()
        size = size or self.probe_size
        weight = next(model.parameters())
        with self.record(model, role) as found:
            model.extract_feat(weight.new_zeros(1, 3, size, size))
        model.train(training)
        if not found:
            raise ValueError(
                f'the layer {self.layers[role]!r} of the {role} does not run '
                'in extract_feat'
            )
        return found[-1]


def as_features(output: Any) -> Features:
    """A map or a sequence of maps as ``Features`` without ``pooled``.

    Raises:
        TypeError: If it is neither.
    """
    maps = [output] if isinstance(output, Tensor) else output
    if not isinstance(maps, Sequence) or not all(
        isinstance(m, Tensor) for m in maps
    ):
        raise TypeError(
            'a feature layer must give a map or a sequence of maps, got '
            f'{type(output).__name__}'
        )
    return Features(list(maps), list(maps), None)
