"""One augmented image for student and teacher, each at its own resolution."""

import copy
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import mmcv
import numpy as np
from mmcv.transforms import (
    BaseTransform,
    Compose,
    LoadAnnotations,
    Pad,
    RandomChoiceResize,
    RandomFlip,
    RandomResize,
)
from mmcv.transforms import Resize as MMCVResize
from mmdet.datasets.transforms import (
    FilterAnnotations,
    Resize,
    ResizeShortestEdge,
)

from mmdet_rankkd.registry import TRANSFORMS
from mmdet_rankkd.structures import TEACHER_SCALE

from .box_pixels import kept_random_state
from .transforms import RandomResizedCrop, ResizeShort, TwoViews

Results = Optional[Dict[str, Any]]
#: Which make an image of another size out of one.
RESIZES = (
    MMCVResize,
    RandomResize,
    RandomChoiceResize,
    ResizeShortestEdge,
    ResizeShort,
    RandomResizedCrop,
)
#: Which leave the image as it is.
STILL = (LoadAnnotations, FilterAnnotations)


@TRANSFORMS.register_module()
class TwoResolutions(BaseTransform):
    """The student's pipeline, in which the teacher has a resize of its own.

    What stands before the student's resize acts once, on the pixels that both
    images are made of. There the teacher's image branches off, so that it is
    not enlarged from the student's. Flips behind it are made on both, and
    random sizes and crops are drawn once for both. The student's image, boxes
    and random numbers are those of its pipeline alone.

    Packed beside ``inputs`` are ``teacher_inputs``, which the distiller
    normalises and pads as the teacher's config says, and among the facts of
    the data sample ``teacher_scale``: (width, height) of the teacher's image
    over the student's.

    Example::

        train_dataloader = dict(dataset=dict(pipeline=[dict(
            type='mmdet_rankkd.TwoResolutions',
            pipeline=_base_.train_pipeline,
            teacher=dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        )]))

    Args:
        pipeline (list[dict]): That of the student, all of it or from its
            resize on; it ends with what packs the image.
        teacher (dict, optional): The teacher's transform in place of the
            student's resize: a ``Resize``; or the same type as the student's
            with other sizes, which then draws the same (``RandomResize`` with
            a ``ratio_range``, ``RandomChoiceResize`` with as many scales,
            ``RandomResizedCrop`` of the same part).
        scale (int, optional): Scale in place of ``teacher``: exactly so many
            times the student's pixels a side, whatever its resize gave. Dense
            heads and features, which are compared place by place, need this
            and ``teacher=dict(..., input_scale=...)`` of the distiller.
        teacher_only (bool): Give the teacher's image as ``inputs``, to test
            the teacher alone.

    Raises:
        ValueError: If not one of ``teacher`` and ``scale`` is given, or
            ``scale`` is no whole number above 0; if the pipeline has not
            exactly one resize; if something behind it cannot be done exactly
            on an image of another size; or if the two resizes would not draw
            the same.
    """

    def __init__(
        self,
        pipeline: Sequence[dict],
        teacher: Optional[dict] = None,
        scale: Optional[int] = None,
        teacher_only: bool = False,
    ) -> None:
        if (teacher is None) == (scale is None):
            raise ValueError(
                'TwoResolutions needs one of teacher=dict(type=...), a '
                "transform in place of the student's resize, and scale=N, N "
                "times the student's pixels a side"
            )
        if scale is not None and (not isinstance(scale, int) or scale < 1):
            raise ValueError(
                f'scale must be a whole number above 0, got {scale!r}; for '
                'other sizes give teacher=dict(type=...)'
            )
        steps = Compose(pipeline).transforms
        place = place_of_resize(steps)
        self.before = steps[:place]
        self.resize = steps[place]
        self.after = steps[place + 1 : -1]
        self.pack = steps[-1]
        check_followed(self.resize, self.after)
        self.teacher: Any = None
        if teacher is not None:
            self.teacher = Compose([teacher]).transforms[0]
            check_draws(self.resize, self.teacher)
        elif isinstance(self.resize, RandomResizedCrop):
            self.teacher = copy.copy(self.resize)
            self.teacher.size *= scale
        self.scale = scale
        self.teacher_only = teacher_only

    @property
    def students_transforms(self) -> List[Callable]:
        """The student's transforms, one after the other."""
        return [*self.before, self.resize, *self.after, self.pack]

    def transform(self, results: Dict[str, Any]) -> Results:
        """Pack both images, or drop what the student's pipeline drops.

        Raises:
            ValueError: If the last transform packs no ``inputs``.
        """
        found: Results = results
        for step in self.before:
            found = step(found)
            if found is None:
                return None
        assert found is not None
        if self.teacher_only:
            return through([*self.after, self.pack], self._teachers(found))
        found, image = self._both(found)
        scale = size_ratio(image, found['img'])
        for step in self.after:
            found = step(found)
            if found is None:
                return None
            image = follow(step, found, image)
        # A copy of the student's facts, so that any packing transform does.
        own = self.pack(dict(found, img=image))
        packed = self.pack(found)
        if 'inputs' not in packed:
            raise ValueError(
                'the last transform of TwoResolutions must pack the image, '
                f'as PackDetInputs does; {type(self.pack).__name__} does not'
            )
        packed['teacher_inputs'] = own['inputs']
        packed['data_samples'].set_metainfo({TEACHER_SCALE: scale})
        return packed

    def _both(
        self, results: Dict[str, Any]
    ) -> Tuple[Dict[str, Any], np.ndarray]:
        """The student's resize, and the teacher's image of the same pixels."""
        pixels = dict(img=results['img'])
        if self.teacher is None:
            results = self.resize(results)
            own = self._enlarging(results['img'])
            return results, own(pixels)['img']
        # What is drawn here is drawn once more for the student.
        with kept_random_state():
            image = self.teacher(pixels)['img']
        return self.resize(results), image

    def _teachers(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """The teacher's resize alone."""
        if self.teacher is not None:
            return self.teacher(results)
        with kept_random_state():
            image = self.resize(dict(img=results['img']))['img']
        return self._enlarging(image)(results)

    def _enlarging(self, image: np.ndarray) -> Resize:
        """A resize to ``scale`` times the student's image."""
        assert self.scale is not None
        inner = getattr(self.resize, 'resize', self.resize)
        height, width = image.shape[:2]
        return Resize(
            scale=(self.scale * width, self.scale * height),
            interpolation=inner.interpolation,
            backend=getattr(inner, 'backend', 'cv2'),
        )


def with_teachers_image(pipeline: Sequence[dict]) -> List[dict]:
    """Config of a pipeline in which ``TwoResolutions`` gives ``inputs``."""
    return [
        dict(step, teacher_only=True) if is_two_resolutions(step) else step
        for step in pipeline
    ]


def with_students_image(pipeline: Sequence[dict]) -> List[dict]:
    """Config of a pipeline with the student's in place of both."""
    return [
        x
        for step in pipeline
        for x in (step['pipeline'] if is_two_resolutions(step) else [step])
    ]


def is_two_resolutions(step: dict) -> bool:
    """Whether the config of a transform is one of ``TwoResolutions``."""
    kind = step['type']
    name = kind if isinstance(kind, str) else kind.__name__
    return name.split('.')[-1] == 'TwoResolutions'


def place_of_resize(steps: Sequence[Callable]) -> int:
    """Index of the one resize of a pipeline.

    Raises:
        ValueError: If there is not exactly one, or nothing packs the image,
            or there are two views of it, or something needs other images.
    """
    names = ', '.join(type(x).__name__ for x in steps)
    if any(isinstance(x, TwoViews) for x in steps):
        raise ValueError(
            'TwoResolutions has no second image for the strong view of '
            'TwoViews; leave one of the two out'
        )
    for step in steps:
        # Such with a cache keep the other images themselves.
        if hasattr(step, 'get_indexes') and not hasattr(step, 'results_cache'):
            name = type(step).__name__
            raise ValueError(
                f'{name} takes other images from MultiImageMixDataset, which '
                'does not see it inside of TwoResolutions; place it in the '
                'same list before TwoResolutions'
            )
    places = [i for i, x in enumerate(steps) if isinstance(x, RESIZES)]
    if len(places) != 1:
        raise ValueError(
            "TwoResolutions takes the teacher's image where the student's "
            'is resized, so that its pipeline needs exactly one resize '
            f'({", ".join(x.__name__ for x in RESIZES)}); there are '
            f'{len(places)} in {names}'
        )
    if places[0] == len(steps) - 1:
        raise ValueError(
            'the pipeline of TwoResolutions must end with what packs the '
            f'image, as PackDetInputs; it has {names}'
        )
    return places[0]


def check_followed(resize: Callable, after: Sequence[Callable]) -> None:
    """Raise ValueError unless all can be done on both images alike."""
    padded = False
    for step in after:
        name = type(step).__name__
        if isinstance(step, Pad):
            padded = True
            if step.size is not None:
                raise ValueError(
                    f'{name}(size={step.size}) fits one resolution only; '
                    'give it size_divisor, or leave padding to '
                    'data_preprocessor'
                )
        elif isinstance(step, RandomFlip):
            if padded:
                raise ValueError(
                    f"{name} behind Pad: the two images' padding would be "
                    'mirrored to other places; flip first'
                )
        elif not isinstance(step, STILL):
            raise ValueError(
                f'{name} behind {type(resize).__name__} cannot be done '
                "exactly on the teacher's image, which is of another size; "
                'place it before, where it acts once on the pixels of both'
            )


def check_draws(student: Any, teacher: Any) -> None:
    """Raise ValueError unless two resizes draw the same, or nothing."""
    crops = isinstance(student, RandomResizedCrop)
    if isinstance(teacher, MMCVResize) and not crops:
        return
    names = [type(x).__name__ for x in (student, teacher)]
    if type(teacher) is not type(student) or not isinstance(
        teacher,
        (RandomResize, RandomChoiceResize, RandomResizedCrop, ResizeShort),
    ):
        raise ValueError(
            f"the teacher's {names[1]} does not draw what the student's "
            f'{names[0]} draws; take the same type with other sizes'
            + ('' if crops else ', a Resize, or scale=N')
        )
    for name in ('ratio_range', 'ratio'):
        own = [getattr(x, name, ()) for x in (student, teacher)]
        if None in own or list(own[0]) != list(own[1]):
            raise ValueError(
                f'{names[0]} of student and teacher need the same {name}, to '
                f'draw the same; they have {own[0]} and {own[1]}'
            )
    if crops and list(student.scale) != list(teacher.scale):
        raise ValueError(
            f'{names[0]} of student and teacher need the same scale, the '
            f'part of the image; they have {student.scale} and '
            f'{teacher.scale}'
        )
    counts = [len(getattr(x, 'scales', ())) for x in (student, teacher)]
    if counts[0] != counts[1]:
        raise ValueError(
            f'{names[0]} of student and teacher need as many scales, to draw '
            f'the same; they have {counts[0]} and {counts[1]}'
        )


def follow(
    step: Callable, results: Dict[str, Any], image: np.ndarray
) -> np.ndarray:
    """Do to the teacher's image what was done to the student's."""
    if isinstance(step, RandomFlip) and results['flip']:
        return mmcv.imflip(image, direction=results['flip_direction'])
    if isinstance(step, Pad):
        return step(dict(img=image))['img']
    return image


def through(steps: Sequence[Callable], results: Results) -> Results:
    """Results behind all transforms, or None if one drops them."""
    for step in steps:
        if results is None:
            return None
        results = step(results)
    return results


def size_ratio(
    teacher: np.ndarray, student: np.ndarray
) -> Tuple[float, float]:
    """Width and height of an image over those of another."""
    height, width = student.shape[:2]
    return teacher.shape[1] / width, teacher.shape[0] / height
