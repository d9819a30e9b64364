"""What several recorders do alike."""

from typing import Optional, Sequence, Sized, Tuple

import torch.nn.functional as F
from mmdet.models.detectors import BaseDetector
from torch import Tensor, nn

from mmdet_rankkd.structures import Scales, teacher_scales

from .base import Model
from .classes import ClassMap


def check_ran(found: Optional[Sized], head: object) -> None:
    """Raise RuntimeError if nothing was recorded of the student's head."""
    if found is None or len(found) == 0:
        raise RuntimeError(
            f"the student's {type(head).__name__} did not run in a training "
            'pass, so there are no logits to distil'
        )


def ranking_warning(columns: Optional[int]) -> Optional[str]:
    """A sentence to say before training where tau has little to rank.

    Args:
        columns (int, optional): How many columns of the logits are compared;
            None where that is not known.

    Returns:
        str, optional: The sentence, or None where there is nothing to say.
    """
    if columns is None or columns > 2:
        return None
    if columns < 2:
        return (
            'student and teacher are compared in one column, which has no '
            'order: kendall_tau is not logged'
        )
    return (
        'student and teacher are compared in two columns, one pair to order: '
        'kendall_tau tells little more than which of the two is higher'
    )


def blank_image(model: Model, side: int) -> Tensor:
    """A black square in the channels, dtype and device of a network.

    Args:
        model (nn.Module): The network; see :func:`image_channels`.
        side (int): Side in pixels.
    """
    weight = next(model.parameters())
    return weight.new_zeros(1, image_channels(model), side, side)


def image_channels(model: nn.Module) -> int:
    """Channels of the images of a network, as its first convolution has them.

    A multiple of 3 counts as 3: some stems stack places of the image first.
    """
    convs = (m for m in model.modules() if isinstance(m, nn.Conv2d))
    channels = getattr(next(convs, None), 'in_channels', 3)
    return channels if channels % 3 else 3


def is_detector(model: nn.Module) -> bool:
    """Whether a model is a detector of MMDetection."""
    return isinstance(model, BaseDetector)


def images_of(model: Model, data: dict) -> Tensor:
    """A batch of raw images, on the model's own preprocessing."""
    return model.data_preprocessor(dict(inputs=data['inputs']))['inputs']


def teacher_images(
    teacher: Model, data: dict, student_size: Sequence[int], input_scale: int
) -> Tensor:
    """A batch of raw images as the teacher's config wants them.

    Args:
        teacher (nn.Module): The teacher.
        data (dict): ``teacher_inputs``, or else ``inputs``, as they were
            loaded.
        student_size (Sequence[int]): Height and width of the student's
            padded batch.
        input_scale (int): ``teacher_inputs`` are padded further to so many
            times that size, so that places stay the same; of 1, not.

    Returns:
        Tensor: Shape (B, 3, H, W).

    Raises:
        ValueError: If they are larger than that, or the images are not so
            many times as large as the student's.
    """
    own = data.get('teacher_inputs')
    images = images_of(teacher, data if own is None else dict(inputs=own))
    if input_scale == 1 or 'teacher_inputs' not in data:
        return images
    check_scales(scales_of(data), input_scale)
    height, width = (input_scale * n for n in student_size)
    more = (height - images.shape[2], width - images.shape[3])
    if min(more) < 0:
        raise ValueError(
            f"the teacher's batch is {tuple(images.shape[2:])} pixels, and "
            f'input_scale={input_scale} times the padded batch of the student '
            f'is {(height, width)}. Give the data_preprocessor of the student '
            "a pad_size_divisor of at least the teacher's over "
            f'{input_scale}'
        )
    value = getattr(teacher.data_preprocessor, 'pad_value', 0)
    return F.pad(images, (0, more[1], 0, more[0]), value=value)


def scales_of(data: dict) -> Optional[Scales]:
    """See ``structures.teacher_scales``; None without images of a teacher."""
    if 'teacher_inputs' not in data:
        return None
    return teacher_scales(data['data_samples'])


def check_scales(scales: Optional[Scales], input_scale: int) -> None:
    """Raise ValueError unless all images are as declared.

    Args:
        scales (list, optional): See ``structures.teacher_scales``.
        input_scale (int): How many times the student's pixels a side the
            teacher's images should have.
    """
    found = set(scales or [(1.0, 1.0)])
    if found != {(input_scale, input_scale)}:
        raise ValueError(
            "the teacher's images have these times the student's pixels "
            f'(width, height): {sorted(found)}, and input_scale of the '
            f'teacher is {input_scale}. Places, which dense heads and '
            'features are compared at, are the same where all images have '
            'one whole factor, N: set it with TwoResolutions(scale=N) in the '
            'pipeline and teacher=dict(..., input_scale=N)'
        )


def shared_columns(
    class_map: Optional[ClassMap],
    student: Tensor,
    teacher: Tensor,
    background: bool,
) -> Tuple[Tensor, Tensor]:
    """Columns of the shared classes; all of them without a ``class_map``."""
    if class_map is None:
        return student, teacher
    return class_map.columns(student, teacher, background)


def choose_rows(
    class_map: Optional[ClassMap],
    labels: Tensor,
    classes: int,
    positives: bool,
) -> Tuple[Tensor, Optional[Tensor], int]:
    """Which rows are compared, by the class of each.

    Rows of classes that are not shared are left out, and background where
    only positives count.

    Args:
        class_map (ClassMap, optional): The shared classes.
        labels (Tensor): The student's class of each row, shape (N,), long;
            background is the last.
        classes (int): How many classes the student has.
        positives (bool): Whether only rows of an object count.

    Returns:
        tuple: The labels as compared columns, shape (N,); which rows count,
        boolean, shape (N,), or None for all; and how many classes are
        compared, which is the label of background.
    """
    keep = None
    if class_map is not None:
        labels, classes = class_map.relabel(labels), class_map.count
        keep = labels >= 0
    if positives:
        keep = (labels >= 0) & (labels < classes)
    return labels, keep, classes
