"""Recorder of feature maps: layers of both networks in their own passes."""

from contextlib import contextmanager
from typing import (
    ContextManager,
    Dict,
    Iterator,
    Optional,
    Sequence,
    Union,
)

import torch
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import FeaturePair, Features

from .base import FeatureMaps, Model, Recorder
from .listening import listening

Output = Union[Tensor, Sequence[Tensor], Features]


class FeatureRecord(Dict[str, Features]):
    """Features of ``'student'`` and ``'teacher'``, once they ran."""


@MODELS.register_module()
class LayerFeatures(Recorder[FeatureRecord, FeaturePair]):
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

    def module(self, model: Model, role: str) -> nn.Module:
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

    def check(self, student: Model, teacher: Model) -> None:
        """Raise ValueError if one of them has no such layer."""
        self.module(student, 'student')
        self.module(teacher, 'teacher')

    @contextmanager
    def record(self, student: Model) -> Iterator[FeatureRecord]:
        """Record the one training pass of the student in the context."""
        record = FeatureRecord()
        with self.listen(student, 'student', record):
            yield record

    def watch(
        self, teacher: Model, record: FeatureRecord
    ) -> ContextManager[None]:
        """Record the teacher's backbone and neck in the context."""
        return self.listen(teacher, 'teacher', record)

    def replay(
        self, teacher: Model, features: FeatureMaps, record: FeatureRecord
    ) -> FeaturePair:
        """Both networks' layers.

        Raises:
            RuntimeError: If one of the layers did not run.
        """
        for role in ('student', 'teacher'):
            if role not in record:
                raise RuntimeError(
                    f'the layer {self.layers[role]!r} of the {role} did not '
                    'run in a training pass'
                )
        return FeaturePair(record['student'], record['teacher'])

    def listen(
        self, model: Model, role: str, record: FeatureRecord
    ) -> ContextManager[None]:
        """Record the last pass of a model in the context."""
        module = self.module(model, role)

        def note(output: Output, *args: object, **kwargs: object) -> None:
            record[role] = as_features(output)

        name = 'features' if hasattr(module, 'features') else 'forward'
        return listening(module, name, note)

    @torch.no_grad()
    def probe(
        self, model: Model, role: str, size: Optional[int] = None
    ) -> Features:
        """Features of a blank image, for their shapes."""
        training = model.training
        model.eval()
        size = size or self.probe_size
        weight = next(model.parameters())
        record = FeatureRecord()
        with self.listen(model, role, record):
            model.extract_feat(weight.new_zeros(1, 3, size, size))
        model.train(training)
        if role not in record:
            raise ValueError(
                f'the layer {self.layers[role]!r} of the {role} does not run '
                'in extract_feat'
            )
        return record[role]


def as_features(output: Output) -> Features:
    """A map or a sequence of maps as ``Features`` without ``pooled``.

    What is ``Features`` already stays as it is.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(output, Features):
        return output
    maps = [output] if isinstance(output, Tensor) else output
    if not isinstance(maps, Sequence) or not all(
        isinstance(m, Tensor) for m in maps
    ):
        raise TypeError(
            'a feature layer must give a map or a sequence of maps, got '
            f'{type(output).__name__}'
        )
    return Features(list(maps), list(maps), None)
