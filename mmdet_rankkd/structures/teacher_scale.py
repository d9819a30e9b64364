"""How much larger than the student's the teacher's images are."""

from typing import List, Optional, Sequence, Tuple

from mmengine.structures import BaseDataElement

#: Name among the facts of a data sample: (width, height) of the teacher's
#: image over the student's, both before padding.
TEACHER_SCALE = 'teacher_scale'
Scales = List[Tuple[float, float]]


def teacher_scales(
    samples: Optional[Sequence[BaseDataElement]],
) -> Optional[Scales]:
    """Factors (width, height) that bring boxes to the teacher's pixels.

    Args:
        samples (Sequence, optional): Data samples of a batch.

    Returns:
        list, optional: A pair an image, or None where all are 1.
    """
    scales = [x.get(TEACHER_SCALE, (1.0, 1.0)) for x in samples or ()]
    return None if all(x == (1.0, 1.0) for x in scales) else scales
