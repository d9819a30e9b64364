"""Kinds of errors: hand-made cases, and counts of the paper's own package."""

import numpy as np
import pytest

from mmdet_rankkd.evaluation.tide import (
    KINDS,
    Found,
    Truth,
    count_errors,
    judge,
)

BOX = (0, 0, 10, 10)
#: Counts of `tidecv` 1.0.1 (TIDE.evaluate with its default thresholds) on
#: `random_images()`.
OF_TIDECV = dict(
    classification=24,
    localisation=41,
    both=18,
    duplicate=55,
    background=105,
    missed=5,
)


def truth(*boxes, labels=None, crowd=None):
    count = len(boxes)
    return Truth(
        np.array(boxes, float).reshape(-1, 4),
        np.array(labels or [0] * count, int),
        np.array(crowd or [False] * count, bool),
    )


def found(*boxes, labels=None, scores=None):
    count = len(boxes)
    return Found(
        np.array(boxes, float).reshape(-1, 4),
        np.array(labels or [0] * count, int),
        np.array(scores or np.linspace(0.9, 0.1, count)),
    )


@pytest.mark.parametrize(
    'box, label, kind, place',
    [
        (BOX, 0, 'right', 0),
        ((0, 0, 10, 5), 0, 'right', 0),  # IoU of exactly 0.5
        ((0, 0, 10, 4), 0, 'localisation', 0),
        ((0, 0, 10, 1), 0, 'localisation', 0),  # exactly 0.1
        ((0, 0, 10, 0.9), 0, 'background', -1),
        ((0, 0, 10, 0), 0, 'background', -1),  # empty
        (BOX, 1, 'classification', 0),
        ((0, 0, 10, 4), 1, 'both', -1),
        ((0, 0, 10, 1), 1, 'background', -1),
    ],
)
def test_one_detection_of_one_truth(box, label, kind, place):
    target, detections = truth(BOX), found(box, labels=[label])
    result = judge(detections, target)
    assert (result.kinds, result.truths) == ([kind], [place])
    counts = count_errors([detections], [target], [result])
    expected = dict.fromkeys(KINDS, 0)
    expected['missed'] = int(place < 0)
    if kind != 'right':
        expected[kind] = 1
    assert counts == expected


def test_the_surest_takes_a_truth_and_others_are_duplicates():
    result = judge(found((0, 0, 10, 9), BOX), truth(BOX))
    assert result.kinds == ['right', 'duplicate']
    with pytest.raises(ValueError, match='surest first'):
        judge(found(BOX, BOX, scores=[0.1, 0.9]), truth(BOX))


def test_a_second_truth_is_found_by_the_second_detection():
    shifted = (2, 0, 12, 10)
    result = judge(found(BOX, BOX), truth(BOX, shifted))
    assert (result.kinds, result.truths) == (['right', 'right'], [0, 1])


def test_crowds_are_neither_missed_nor_false():
    target = truth((0, 0, 50, 50), crowd=[True])
    detections = found(BOX, BOX, labels=[0, 1])
    result = judge(detections, target)
    assert result.kinds == ['ignored', 'background']
    counts = count_errors([detections], [target], [result])
    assert counts['missed'] == 0 and counts['background'] == 1


def test_a_threshold_hides_errors_and_bares_misses():
    target = truth(BOX, (20, 0, 30, 10), (40, 0, 50, 10))
    detections = found(
        BOX, (20, 0, 30, 4), (70, 0, 80, 10), scores=[0.9, 0.5, 0.3]
    )
    result = judge(detections, target)
    seen = [
        tuple(count_errors([detections], [target], [result], t).values())
        for t in (0, 0.4, 0.6, 1.0)
    ]
    assert seen == [
        (0, 1, 0, 0, 1, 1),
        (0, 1, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 2),
        (0, 0, 0, 0, 0, 3),
    ]


def test_images_without_objects_or_detections():
    assert judge(found(BOX), truth()).kinds == ['background']
    nothing = found()
    result = judge(nothing, truth(BOX))
    assert result.kinds == []
    assert count_errors([nothing], [truth(BOX)], [result])['missed'] == 1


def random_images():
    """Truths and detections of 60 images in which every kind is common."""
    rng = np.random.RandomState(3)
    images = []
    for _ in range(60):
        count = rng.randint(0, 6)
        corner = rng.uniform(0, 60, (count, 2))
        boxes = np.hstack([corner, corner + rng.uniform(12, 30, (count, 2))])
        labels = rng.randint(0, 3, count)
        near = np.repeat(boxes, 3, 0)
        near = near + rng.normal(0, 3, near.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 2)
        near_labels = np.repeat(labels, 3)
        wrong = rng.rand(len(near)) < 0.3
        near_labels[wrong] = rng.randint(0, 3, wrong.sum())
        keep = rng.rand(len(near)) < 0.6
        corner = rng.uniform(0, 80, (2, 2))
        far = np.hstack([corner, corner + rng.uniform(5, 25, (2, 2))])
        detected = np.vstack([near[keep], far])
        classes = np.append(near_labels[keep], rng.randint(0, 3, 2))
        scores = np.sort(rng.rand(len(detected)))[::-1]
        images.append(
            (
                Found(detected, classes, scores),
                Truth(boxes, labels, np.zeros(count, bool)),
            )
        )
    return images


def test_counts_of_the_papers_own_package():
    images = random_images()
    detections, truths = zip(*images)
    judged = [judge(*image) for image in images]
    assert count_errors(detections, truths, judged) == OF_TIDECV
    assert all(OF_TIDECV.values())
