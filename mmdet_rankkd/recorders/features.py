"""Recorder of feature maps: layers of both networks in their own passes."""

from contextlib import contextmanager
from typing import (
    Any,
    ContextManager,
    Dict,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import torch
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import FeaturePair, Features, Scales

from .base import FeatureMaps, Model, Recorder
from .listening import listening, method_of_outputs
from .shared import blank_image, check_scales

Output = Union[Tensor, Sequence[Tensor], Features]


class FeatureRecord(Dict[str, Features]):
    """Features of ``'student'`` and ``'teacher'``, once they ran.

    Attributes:
        sizes (dict): Height and width in pixels of the batch that each saw.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes: Dict[str, Tuple[int, ...]] = {}


@MODELS.register_module()
class LayerFeatures(Recorder[FeatureRecord, FeaturePair]):
    """Feature maps of student and teacher for the feature losses.

    A layer is a module by its name. Of a network of this package, all that
    its ``features`` gives is taken; of any other module, its output: a map,
    or a sequence of maps such as the levels of a neck.

    Where the teacher's images have N times the student's pixels a side
    (``teacher=dict(..., input_scale=N)``), the maps that have the same grid
    on these images are compared: with N = 2 the second level of the teacher's
    neck with the first of the student's, and so on. Losses count the levels
    that are left from 0.

    Args:
        layer (str): Layer of the student: ``'backbone'`` of a classifier,
            ``'neck'`` of a detector, or any other.
        teacher_layer (str, optional): Layer of the teacher, the same
            by default.
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
        #: Of the student and of the teacher, which maps are compared; those
        #: of the same place by default.
        self.matched: Optional[List[Tuple[int, int]]] = None

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

    def rescaled(self, record: FeatureRecord, scales: Scales) -> FeatureRecord:
        """As it is; the maps of the same grid are taken by :meth:`replay`.

        Raises:
            ValueError: If the images are not ``input_scale`` times as large.
        """
        check_scales(scales, self.input_scale)
        return record

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
            ValueError: If the two batches are padded to other sizes.
        """
        for role in ('student', 'teacher'):
            if role not in record:
                raise RuntimeError(
                    f'the layer {self.layers[role]!r} of the {role} did not '
                    'run in a training pass'
                )
        sizes = record.sizes
        if self.input_scale == 1 and len(set(sizes.values())) > 1:
            raise ValueError(
                'the same images are padded to a batch of '
                f'{sizes["student"]} pixels for the student and '
                f'{sizes["teacher"]} for the teacher, so that places of their '
                'feature maps are not the same. Give both the same '
                'pad_size_divisor in data_preprocessor'
            )
        return self.pair(record['student'], record['teacher'])

    def pair(self, student: Features, teacher: Features) -> FeaturePair:
        """The maps that are compared: of another resolution the matched ones.

        Those are found by the first pair, which is that of the blank images.

        Raises:
            ValueError: If no maps have the same grid, or those that had on
                the blank images have other ones.
        """
        if self.input_scale == 1:
            return FeaturePair(student, teacher)
        if self.matched is None:
            self.matched = match_grids(student, teacher)
        own = [i for i, _ in self.matched]
        others = [j for _, j in self.matched]
        pair = FeaturePair(take(student, own), take(teacher, others))
        for s, t in zip(pair.student.stages, pair.teacher.stages):
            if s.shape[2:] != t.shape[2:]:
                raise ValueError(
                    'a feature map of the student is of '
                    f'{tuple(s.shape[2:])} cells and the one of the teacher '
                    f'that it is compared with of {tuple(t.shape[2:])}. Give '
                    "the student's data_preprocessor the pad_size_divisor of "
                    'its largest stride'
                )
        return pair

    @contextmanager
    def listen(
        self, model: Model, role: str, record: FeatureRecord
    ) -> Iterator[None]:
        """Record the last pass of a model in the context."""
        module = self.module(model, role)

        def note(output: Output, *args: object, **kwargs: object) -> None:
            record[role] = as_features(output)

        def note_size(output: object, *args: Any, **kwargs: Any) -> None:
            images, *_ = (*args, *kwargs.values())
            record.sizes[role] = tuple(images.shape[2:])

        with (
            listening(module, method_of_outputs(module), note),
            listening(model, 'extract_feat', note_size),
        ):
            yield

    @torch.no_grad()
    def probe(
        self, model: Model, role: str, size: Optional[int] = None
    ) -> Features:
        """Features of a blank image, for their shapes."""
        training = model.training
        model.eval()
        if size is None:
            times = self.input_scale if role == 'teacher' else 1
            size = times * self.probe_size
        record = FeatureRecord()
        with self.listen(model, role, record):
            model.extract_feat(blank_image(model, size))
        model.train(training)
        if role not in record:
            raise ValueError(
                f'the layer {self.layers[role]!r} of the {role} does not run '
                'in extract_feat'
            )
        return record[role]


def match_grids(student: Features, teacher: Features) -> List[Tuple[int, int]]:
    """Which maps have the same grid, of each grid the deepest ones.

    Args:
        student (Features): Features of an image.
        teacher (Features): Those of the same image at another resolution.

    Raises:
        ValueError: If none have, or if one is no map.
    """
    grids = []
    for role, found in (('student', student), ('teacher', teacher)):
        for x in found.stages:
            if x.dim() != 4:
                raise ValueError(
                    f'the {role} has features of shape {tuple(x.shape)}, '
                    'which have no grid that could be matched at another '
                    'resolution of the teacher'
                )
        sizes = [tuple(x.shape[2:]) for x in found.stages]
        grids.append({size: i for i, size in enumerate(sizes)})
    pairs = [(i, grids[1][g]) for g, i in grids[0].items() if g in grids[1]]
    if not pairs:
        raise ValueError(
            'no feature maps of student and teacher have the same grid at '
            f'the two resolutions: of a blank image the student has '
            f'{list(grids[0])}, the teacher {list(grids[1])}. Take another '
            'input_scale, or leave the losses of features out'
        )
    return pairs


def take(features: Features, levels: Sequence[int]) -> Features:
    """Some of the maps of a network."""
    return Features(
        [features.stages[i] for i in levels],
        [features.preacts[i] for i in levels],
        features.pooled,
    )


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
