"""What a detection is: right, or one of six kinds of error.

The kinds are those of TIDE (Bolya et al., "TIDE: A General Toolbox for
Identifying Object Detection Errors", ECCV 2020, section 2.2), with its
thresholds: a box of an IoU of at least 0.5 is in its place, and one of less
than 0.1 is on the background.
"""

from dataclasses import dataclass
from typing import Dict, Iterable, List, Sequence, Tuple

import numpy as np
from pycocotools import mask

#: From it on, a box is in the place of an object.
IN_PLACE = 0.5
#: Below it, a box is on the background.
BACKGROUND = 0.1
#: What a detection can be, but for ``'ignored'``: it lies in a region of the
#: class (``iscrowd``) in which COCO counts nothing.
KINDS = (
    'right',
    'classification',
    'localisation',
    'both',
    'duplicate',
    'background',
)
#: Kinds that tell which object was meant, so that it is not missed.
MEANT = ('classification', 'localisation')


@dataclass(frozen=True)
class Objects:
    """Annotated objects of an image.

    Attributes:
        boxes (list): ``[x, y, width, height]`` of each, in pixels.
        labels (list): Number of the class of each.
        ignored (list): Whether each is a region in which nothing counts.
    """

    boxes: Sequence[Sequence[float]]
    labels: Sequence[int]
    ignored: Sequence[bool]


@dataclass(frozen=True)
class Detections:
    """Detections of an image.

    Attributes:
        boxes (list): ``[x, y, width, height]`` of each, in pixels.
        labels (list): Number of the class of each.
        scores (list): Score of each, from 0 to 1.
    """

    boxes: Sequence[Sequence[float]]
    labels: Sequence[int]
    scores: Sequence[float]


@dataclass(frozen=True)
class Judged:
    """What the detections of an image are.

    Since a detection is judged by those of higher score alone, this holds
    above any score that is asked for.

    Attributes:
        kinds (list): Kind of each detection: one of ``KINDS``, or
            ``'ignored'``.
        targets (list): The object that each found or meant; -1 for none.
    """

    kinds: List[str]
    targets: List[int]


#: What is in an image, what was found in it, and what that is.
Seen = Tuple[Objects, Detections, Judged]


def judge(objects: Objects, found: Detections) -> Judged:
    """Judge detections of an image.

    Objects are found as in COCO's evaluation at an IoU of 0.5: in the order
    of the scores, each detection takes the object of its class with which its
    IoU is highest, among those that are not taken. What is left is, in the
    order of TIDE's own program:

    - localisation: its highest IoU with objects of its class is from 0.1 to
      0.5;
    - classification: an object of another class has an IoU of 0.5 or more;
    - duplicate: an object of its class, which is taken, has one of 0.5 or
      more;
    - background: no object has an IoU above 0.1;
    - both: the rest, which have the wrong class and the wrong place.

    Args:
        objects (Objects): What is in the image.
        found (Detections): What a detector found in it.
    """
    count = len(found.scores)
    kinds, targets = ['background'] * count, [-1] * count
    labels = np.array(objects.labels, dtype=int)
    ignored = np.array(objects.ignored, dtype=bool)
    overlaps = _overlaps(objects, found)
    taken = np.zeros(len(labels), dtype=bool)
    order = np.argsort(-np.array(found.scores, dtype=float), kind='stable')
    for index in order.tolist():
        row = overlaps[index]
        same = labels == found.labels[index]
        free = np.where(same & ~ignored & ~taken, row, 0.0)
        if free.max(initial=0) >= IN_PLACE:
            kinds[index], targets[index] = 'right', int(free.argmax())
            taken[targets[index]] = True
        elif np.where(same & ignored, row, 0.0).max(initial=0) >= IN_PLACE:
            kinds[index] = 'ignored'
        else:
            own = np.where(same & ~ignored, row, 0.0)
            others = np.where(~same & ~ignored, row, 0.0)
            kinds[index], targets[index] = _error(own, others)
    return Judged(kinds, targets)


def _error(own: np.ndarray, others: np.ndarray) -> Tuple[str, int]:
    """Kind of a detection that is not right, and the object it means.

    Args:
        own (np.ndarray): IoU with each object of its class, else 0.
        others (np.ndarray): IoU with each object of other classes, else 0.
    """
    near, foreign = own.max(initial=0), others.max(initial=0)
    if BACKGROUND <= near < IN_PLACE:
        return 'localisation', int(own.argmax())
    if foreign >= IN_PLACE:
        return 'classification', int(others.argmax())
    if near >= IN_PLACE:
        return 'duplicate', int(own.argmax())
    return ('background' if foreign <= BACKGROUND else 'both'), -1


def _overlaps(objects: Objects, found: Detections) -> np.ndarray:
    """IoU of each detection and object; with an ignored region, the part of
    the detection that is in it.
    """
    if not len(found.scores) or not len(objects.labels):
        return np.zeros((len(found.scores), len(objects.labels)))
    return mask.iou(
        np.array(found.boxes, dtype=float),
        np.array(objects.boxes, dtype=float),
        [int(x) for x in objects.ignored],
    )


def reached(
    objects: Objects, found: Detections, judged: Judged
) -> Dict[str, List[float]]:
    """How high a score may be asked for until an object is no longer found.

    Returns:
        dict: For ``'right'`` and each kind in ``MEANT``, the highest score of
        a detection of that kind for each object; -1 where there is none.
    """
    result = {kind: [-1.0] * len(objects.labels) for kind in ('right', *MEANT)}
    for kind, target, score in zip(judged.kinds, judged.targets, found.scores):
        if kind in result:
            result[kind][target] = max(result[kind][target], score)
    return result


def count_above(
    images: Iterable[Seen], steps: int = 100
) -> Dict[str, List[int]]:
    """Count each kind among the detections above each of many scores.

    Args:
        images (Iterable): Objects, detections and what these are, of each.
        steps (int): Scores asked for are 0, 1 / steps, 2 / steps, ... 1.

    Returns:
        dict: For each of ``KINDS`` and ``'missed'``, the counts. Missed are
        objects that no detection above the score found, nor meant with the
        wrong class or place.
    """
    scores: Dict[str, List[float]] = {kind: [] for kind in KINDS}
    covered: List[float] = []
    for objects, found, judged in images:
        for kind, score in zip(judged.kinds, found.scores):
            if kind != 'ignored':
                scores[kind].append(score)
        highest = reached(objects, found, judged)
        for index, ignored in enumerate(objects.ignored):
            if not ignored:
                covered.append(max(x[index] for x in highest.values()))
    limits = np.arange(steps + 1) / steps
    counts = {kind: _count(values, limits) for kind, values in scores.items()}
    seen = _count(covered, limits)
    counts['missed'] = [len(covered) - x for x in seen]
    return counts


def _count(values: Sequence[float], limits: np.ndarray) -> List[int]:
    """How many of the values are at least each of the limits."""
    ranked = np.sort(np.array(values, dtype=float))
    return (len(ranked) - np.searchsorted(ranked, limits)).tolist()
