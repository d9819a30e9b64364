"""In pixels of what the ground-truth boxes of a data set are."""

import random
from contextlib import contextmanager
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
import torch
from mmcv.transforms import Pad
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

#: Of the original image, or of the network's input.
PIXELS = ('image', 'input')
WAY_OUT = (
    ' Load annotations right after the image, or say which it is with '
    "boxes='input', for pixels of the network's input, or boxes='image', for "
    'pixels of the original image, which scale_factor brings to the input.'
)


def box_pixels(dataset: Any) -> str:
    """Find out by the pipeline in pixels of what the boxes are.

    Boxes that are loaded before the image is resized are resized with it;
    those loaded afterwards, as in MMDetection's test pipelines, are in pixels
    of the original image. One image of each data set inside ``dataset`` goes
    through the pipeline step by step; random numbers are left as they were.

    Args:
        dataset (Dataset): A data set of MMDetection, or a wrapper around one
            or several.

    Returns:
        str: ``'image'`` for the original image, ``'input'`` for the
        network's input.

    Raises:
        ValueError: If there are no boxes, if they are in pixels of neither,
            if the parts of the data set differ, or if it cannot be known.
    """
    found: Dict[str, str] = {}
    with kept_random_state():
        for part, transforms in parts(dataset):
            found[pixels_of_part(part, transforms)] = type(part).__name__
    if len(found) > 1:
        raise ValueError(
            'one part of the data set loads boxes before the image is resized '
            f'({found["input"]}), another one afterwards ({found["image"]}); '
            'load them at the same place in both pipelines'
        )
    return next(iter(found))


def in_input_pixels(
    samples: Sequence[DetDataSample], pixels: str
) -> Sequence[DetDataSample]:
    """Data samples with their boxes in pixels of the network's input.

    Args:
        samples (Sequence[DetDataSample]): Samples of a batch; they are not
            changed.
        pixels (str): What their boxes are in, ``'image'`` or
            ``'input'``.

    Raises:
        ValueError: If the boxes are in pixels of the original image and a
            sample does not tell the scale, or was flipped.
    """
    if pixels == 'input':
        return samples
    scaled = []
    for sample in samples:
        if 'scale_factor' not in sample:
            raise ValueError(
                'the data samples have no scale_factor, which brings boxes to '
                'pixels of the input; name it among the meta_keys of '
                'PackDetInputs'
            )
        if sample.get('flip'):
            raise ValueError(
                'an image was flipped before its boxes were loaded.' + WAY_OUT
            )
        sample = sample.clone()
        for name in ('gt_instances', 'ignored_instances'):
            if name in sample:
                instances = scaled_boxes(sample.get(name), sample.scale_factor)
                sample.set_field(instances, name)
        scaled.append(sample)
    return scaled


def scaled_boxes(
    instances: InstanceData, scale_factor: Tuple[float, float]
) -> InstanceData:
    """Instances with their boxes scaled by (width, height)."""
    boxes = instances.bboxes
    boxes = getattr(boxes, 'tensor', boxes)
    instances = instances.clone()
    instances.bboxes = boxes * boxes.new_tensor([*scale_factor] * 2)
    return instances


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Random numbers drawn inside the context do not count outside."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def parts(
    dataset: Any, outer: Tuple[Callable, ...] = ()
) -> Iterator[Tuple[Any, List[Callable]]]:
    """Data sets inside wrappers, each with all that its images go through.

    Raises:
        ValueError: If one has no pipeline that can be followed.
    """
    pipeline = getattr(dataset, 'pipeline', ())
    transforms = getattr(pipeline, 'transforms', pipeline)
    # TwoResolutions goes through those of the student one after the other.
    transforms = [
        x
        for step in transforms
        for x in getattr(step, 'students_transforms', [step])
    ]
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from parts(part, outer)
    elif hasattr(dataset, 'dataset'):
        # MultiImageMixDataset has transforms of its own.
        yield from parts(dataset.dataset, (*transforms, *outer))
    elif transforms and hasattr(dataset, 'get_data_info'):
        yield dataset, [*transforms, *outer]
    else:
        raise ValueError(
            f'{type(dataset).__name__} has no pipeline, so that it cannot be '
            'known in pixels of what its boxes are.' + WAY_OUT
        )


def pixels_of_part(dataset: Any, transforms: Sequence[Callable]) -> str:
    """What :func:`box_pixels` says of one data set and its transforms."""
    mixing = [t for t in transforms if hasattr(t, 'get_indexes')]
    if mixing:
        raise ValueError(
            f'{type(mixing[0]).__name__} mixes several images, so that it '
            'cannot be known in pixels of what the boxes are.' + WAY_OUT
        )
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    for index in range(len(dataset)):
        found = follow(dataset.get_data_info(index), transforms)
        if found is not None:
            return found
    raise ValueError(
        f'no image of the {type(dataset).__name__} comes out of its pipeline'
    )


def follow(
    results: Optional[Dict[str, Any]], transforms: Sequence[Callable]
) -> Optional[str]:
    """Follow an image through its transforms.

    Returns:
        str, optional: In pixels of what its boxes are in the end; None if a
        transform drops the image.
    """
    assert results is not None
    before: Optional[Geometry] = None
    size: Optional[Tuple[int, int]] = None
    resized: Optional[str] = None
    loaded = False
    for transform in transforms:
        name = type(transform).__name__
        results = transform(results)
        if results is None:
            return None
        loaded_before, loaded = loaded, loaded or 'gt_bboxes' in results
        after = geometry(results)
        if after is None:
            continue
        size = size or after.shape
        # Padding is added at the right and at the bottom: boxes stay.
        moved = before not in (None, after) and not isinstance(transform, Pad)
        before = after
        if moved and loaded_before and resized:
            raise ValueError(
                f'{resized} moves the image before its boxes are loaded and '
                f'{name} afterwards, so that they are neither in pixels of '
                "the original image nor of the network's input." + WAY_OUT
            )
        if moved and not loaded_before:
            if loaded or not after.only_resized(size):
                raise ValueError(
                    f'{name} moves the image before its boxes are loaded, and '
                    'not by scale_factor alone.' + WAY_OUT
                )
            resized = name
    if not loaded:
        raise ValueError(
            'the pipeline loads no boxes; it needs '
            "dict(type='LoadAnnotations', with_bbox=True)"
        )
    return 'image' if resized else 'input'


class Geometry(NamedTuple):
    """What tells of a loaded image whether it was moved.

    Attributes:
        shape (tuple[int, int]): Height and width.
        scale (tuple[float, ...], optional): ``scale_factor``.
        flip (bool): Whether it was flipped.
        matrix (tuple[float, ...], optional): ``homography_matrix``, flat.
    """

    shape: Tuple[int, int]
    scale: Optional[Tuple[float, ...]]
    flip: bool
    matrix: Optional[Tuple[float, ...]]

    def only_resized(self, size: Tuple[int, int]) -> bool:
        """Whether ``scale_factor`` tells all that was done to the image.

        Args:
            size (tuple[int, int]): Height and width before.
        """
        if self.flip or self.scale is None or len(self.scale) != 2:
            return False
        width, height = self.scale
        matrix = (width, 0, 0, 0, height, 0, 0, 0, 1)
        if self.matrix is not None and not np.allclose(self.matrix, matrix):
            return False
        expected = np.multiply(size, (height, width))
        return bool((np.abs(expected - self.shape) <= 1).all())


def geometry(results: Dict[str, Any]) -> Optional[Geometry]:
    """Geometry of the image of a pipeline's results, once it is loaded."""
    if results.get('img') is None:
        return None
    scale, matrix = (
        None if x is None else tuple(np.ravel(x).tolist())
        for x in map(results.get, ('scale_factor', 'homography_matrix'))
    )
    height, width = np.shape(results['img'])[:2]
    return Geometry((height, width), scale, bool(results.get('flip')), matrix)
