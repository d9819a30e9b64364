"""The score above which a detector's boxes are right and few are missed."""

from dataclasses import dataclass

import numpy as np

HIT, MISS, IGNORED = 1, 0, -1


@dataclass(frozen=True)
class F1:
    """Scores of the boxes at and above a threshold.

    Attributes:
        threshold (float): Lowest score of a box that is kept.
        precision (float): Share of the kept boxes that are right, in [0, 1].
        recall (float): Share of the objects that are found, in [0, 1].
        f1 (float): Harmonic mean of the two.
    """

    threshold: float
    precision: float
    recall: float
    f1: float


def match_boxes(
    overlaps: np.ndarray, crowds: np.ndarray, least: float = 0.5
) -> np.ndarray:
    """Match the boxes of an image with its objects, as COCO's AP does.

    One after the other, each box takes the free object that it overlaps most.
    So what is matched above a threshold does not depend on the boxes below
    it. A box without an object that lies in a crowd is ignored.

    Args:
        overlaps (np.ndarray): Intersection over union of each box with each
            object, the box of the highest score first, shape (N, M); 0 where
            the classes differ.
        crowds (np.ndarray): Share of each box inside of each crowd of its
            class, shape (N, K).
        least (float): Overlap of a match.

    Returns:
        np.ndarray: ``HIT``, ``MISS`` or ``IGNORED`` for each box, shape (N,).
    """
    overlaps = overlaps.copy()
    result = np.full(len(overlaps), MISS)
    for index, row in enumerate(overlaps):
        if row.size and row.max() >= least:
            result[index] = HIT
            overlaps[:, row.argmax()] = 0
        elif crowds[index].max(initial=0) >= least:
            result[index] = IGNORED
    return result


def best_f1(scores: np.ndarray, hits: np.ndarray, objects: int) -> F1:
    """Find the threshold of the highest F1 over all classes together.

    Args:
        scores (np.ndarray): Scores of the boxes of all images, shape (N,).
        hits (np.ndarray): Which of them are right, shape (N,), boolean.
        objects (int): How many there are to be found.

    Returns:
        F1: Of the highest threshold where several are equally good.

    Raises:
        ValueError: If no box is right.
    """
    if not hits.any():
        raise ValueError('no box is on an object of its class')
    order = np.argsort(-scores, kind='stable')
    scores, hits = scores[order], hits[order]
    found, kept = hits.cumsum(), np.arange(1, len(hits) + 1)
    f1 = 2 * found / (kept + objects)
    # Boxes of equal scores are kept together.
    f1[:-1][scores[:-1] == scores[1:]] = 0
    best = int(f1.argmax())
    return F1(
        threshold=float(scores[best]),
        precision=float(found[best] / kept[best]),
        recall=float(found[best] / objects),
        f1=float(f1[best]),
    )
