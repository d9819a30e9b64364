"""Why detections are wrong: the kinds of errors of TIDE.

Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020, section 2.2. What is counted here are the errors
themselves; the paper's other figure, the AP that is lost by each kind, is
not computed.
"""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np

#: Kinds of wrong detections, and truths that were missed.
KINDS = (
    'classification',
    'localisation',
    'both',
    'duplicate',
    'background',
    'missed',
)
#: An IoU from which a detection finds a truth, and one up to which it is on
#: the background: t_f and t_b of the paper.
FOREGROUND, BACKGROUND = 0.5, 0.1


@dataclass(frozen=True)
class Truth:
    """The objects of an image.

    Attributes:
        boxes (np.ndarray): Corners x1, y1, x2, y2 in pixels, shape (M, 4).
        labels (np.ndarray): Class indices, shape (M,).
        crowd (np.ndarray): Which are regions to be ignored, bool, shape (M,).
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class Found:
    """The detections of an image, the surest first.

    Attributes:
        boxes (np.ndarray): Corners x1, y1, x2, y2 in pixels, shape (N, 4).
        labels (np.ndarray): Class indices, shape (N,).
        scores (np.ndarray): From 0 to 1, falling, shape (N,).
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Judged:
    """What the detections of an image are.

    Attributes:
        kinds (list): Of each detection: ``'right'``, one of :data:`KINDS`, or
            ``'ignored'``. They depend on no threshold of scores: a truth is
            taken by the surest detection of it.
        truths (list): Index of the truth that each found, or would have found
            but for a wrong class or place; -1 for none.
    """

    kinds: List[str]
    truths: List[int]


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Areas of the intersections, of shape (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=2)


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas of boxes, of shape (N,)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union, of shape (N, M); 0 of empty boxes."""
    shared = overlaps(boxes, others)
    union = areas(boxes)[:, None] + areas(others)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def judge(found: Found, truth: Truth) -> Judged:
    """Say of each detection of an image what it is.

    A detection finds a truth of its class that no surer one has taken, at
    IoU >= 0.5. A wrong one that is covered by a crowd region of its class
    for more than half is ignored. The others are, the first that fits, with
    IoU_max over the truths meant:

    - localisation: right class, 0.1 <= IoU_max < 0.5;
    - classification: wrong class, IoU_max >= 0.5;
    - duplicate: right class, IoU_max >= 0.5, of a truth that is taken;
    - background: IoU_max <= 0.1 for all truths;
    - both: what is left, wrong class and wrong place.

    Args:
        found (Found): The surest first.
        truth (Truth): Of the same image.

    Raises:
        ValueError: If the scores do not fall.
    """
    if (np.diff(found.scores) > 0).any():
        raise ValueError('detections must be sorted, the surest first')
    index = np.flatnonzero(~truth.crowd)
    boxes = found.boxes.astype(float)
    every = iou(boxes, truth.boxes[index].astype(float))
    same = found.labels[:, None] == truth.labels[index][None]
    taken = np.zeros(len(index), bool)
    right = np.full(len(boxes), -1)
    for number in range(len(boxes)):
        free = every[number] * same[number] * ~taken
        if free.size and free.max() >= FOREGROUND:
            right[number] = free.argmax()
            taken[right[number]] = True
    crowded = in_crowd(found, truth)
    kinds, truths = [], []
    for number, place in enumerate(right):
        if place >= 0:
            kind = 'right'
        elif crowded[number]:
            kind, place = 'ignored', -1
        else:
            kind, place = kind_of(every[number], same[number])
        kinds.append(kind)
        truths.append(int(index[place]) if place >= 0 else -1)
    return Judged(kinds, truths)


def kind_of(ious: np.ndarray, same: np.ndarray) -> Tuple[str, int]:
    """Kind of a wrong detection, and the truth that it was meant for.

    Args:
        ious (np.ndarray): With each truth, shape (M,).
        same (np.ndarray): Whether that is of its class, shape (M,).
    """
    if not ious.size:
        return 'background', -1
    alike, other = ious * same, ious * ~same
    if BACKGROUND <= alike.max() < FOREGROUND:
        return 'localisation', int(alike.argmax())
    if other.max() >= FOREGROUND:
        return 'classification', int(other.argmax())
    if alike.max() >= FOREGROUND:
        return 'duplicate', -1
    return ('background' if ious.max() <= BACKGROUND else 'both'), -1


def in_crowd(found: Found, truth: Truth) -> np.ndarray:
    """Which detections lie in a crowd region of their class, shape (N,)."""
    boxes = found.boxes.astype(float)
    crowds = truth.boxes[truth.crowd].astype(float)
    area = areas(boxes)[:, None]
    shared = overlaps(boxes, crowds)
    share = np.divide(shared, area, out=np.zeros_like(shared), where=area > 0)
    same = found.labels[:, None] == truth.labels[truth.crowd][None]
    return ((share > FOREGROUND) & same).any(1)


def count_errors(
    found: Sequence[Found],
    truths: Sequence[Truth],
    judged: Sequence[Judged],
    threshold: float = 0.0,
) -> Dict[str, int]:
    """The number of errors of each kind over images.

    A truth is missed if no detection found it, nor would have but for one
    wrong class or place, as those errors are counted already.

    Args:
        found (Sequence[Found]): Of each image.
        truths (Sequence[Truth]): Of each image.
        judged (Sequence[Judged]): Of each image.
        threshold (float): Detections of lower scores do not count.
    """
    counts = dict.fromkeys(KINDS, 0)
    for detections, truth, result in zip(found, truths, judged):
        touched = set()
        for score, kind, place in zip(
            detections.scores, result.kinds, result.truths
        ):
            if score < threshold:
                continue
            if kind in counts:
                counts[kind] += 1
            touched.add(place)
        whole = set(np.flatnonzero(~truth.crowd).tolist())
        counts['missed'] += len(whole - touched)
    return counts
