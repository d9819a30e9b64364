"""Kinds of errors, on boxes whose overlaps are known by hand."""

import pytest

from mmdet_rankkd.experiments.explore.errors import (
    KINDS,
    Detections,
    Objects,
    count_above,
    judge,
    reached,
)

#: Two objects far from each other: a cat of class 0, a dog of class 1.
CAT, DOG = [0, 0, 10, 10], [100, 0, 10, 10]
OBJECTS = Objects([CAT, DOG], [0, 1], [False, False])


def shifted(box, x):
    """IoU with the box is (10 - x) / (10 + x)."""
    return [box[0] + x, *box[1:]]


def kinds_of(*found, objects=OBJECTS):
    """Kinds of detections, given as box, label and score."""
    return judge(objects, Detections(*zip(*found))).kinds


@pytest.mark.parametrize(
    'box, label, kind, target',
    [
        (CAT, 0, 'right', 0),
        (shifted(CAT, 3), 0, 'right', 0),  # 7 / 13
        ([0, 0, 10, 5], 0, 'right', 0),  # 5 / 10
        (shifted(CAT, 4), 0, 'localisation', 0),  # 6 / 14
        (shifted(CAT, 8), 0, 'localisation', 0),  # 2 / 18
        (shifted(CAT, 9), 0, 'background', -1),  # 1 / 19
        (CAT, 1, 'classification', 0),
        (shifted(CAT, 4), 1, 'both', -1),
        (shifted(CAT, 9), 1, 'background', -1),
        ([300, 0, 10, 10], 0, 'background', -1),
    ],
)
def test_one_detection(box, label, kind, target):
    judged = judge(OBJECTS, Detections([box], [label], [0.9]))
    assert (judged.kinds, judged.targets) == ([kind], [target])


def test_the_highest_score_takes_the_object():
    found = [(CAT, 0, 0.5), (shifted(CAT, 1), 0, 0.8), (CAT, 0, 0.5)]
    assert kinds_of(*found) == ['duplicate', 'right', 'duplicate']
    # Of equal scores, the first.
    assert kinds_of(found[0], found[2]) == ['right', 'duplicate']


def test_each_takes_the_object_with_the_highest_overlap_that_is_free():
    objects = Objects([CAT, shifted(CAT, 2)], [0, 0], [False, False])
    found = Detections([CAT, CAT], [0, 0], [0.9, 0.8])
    assert judge(objects, found).targets == [0, 1]


def test_a_wrong_place_comes_before_a_wrong_class():
    objects = Objects([CAT, shifted(CAT, 4)], [0, 1], [False, False])
    assert kinds_of((shifted(CAT, 4), 0, 0.9), objects=objects) == [
        'localisation'
    ]


def test_regions_in_which_nothing_counts():
    objects = Objects([CAT, [0, 0, 50, 50]], [0, 0], [False, True])
    inside = [30, 30, 5, 5]
    assert kinds_of(
        (CAT, 0, 0.9),
        (CAT, 0, 0.8),
        (inside, 0, 0.7),
        (inside, 1, 0.7),
        objects=objects,
    ) == ['right', 'ignored', 'ignored', 'background']


def test_nothing_there():
    empty = Objects([], [], [])
    assert kinds_of((CAT, 0, 0.9), objects=empty) == ['background']
    assert judge(OBJECTS, Detections([], [], [])).kinds == []


def test_the_score_until_which_objects_are_reached():
    found = Detections(
        [CAT, shifted(CAT, 4), DOG, DOG], [0, 0, 0, 0], [0.4, 0.9, 0.3, 0.6]
    )
    assert reached(OBJECTS, found, judge(OBJECTS, found)) == dict(
        right=[0.4, -1],
        localisation=[0.9, -1],
        classification=[-1, 0.6],
    )


def test_counts_are_those_of_judging_what_is_left():
    """Above each score, they are the same as when the rest is not there."""
    places = [CAT, DOG, shifted(CAT, 4), shifted(DOG, 2), [300, 0, 5, 5]]
    found = [
        (box, label, (17 * i + 29 * label) % 100 / 100)
        for i, box in enumerate(2 * places)
        for label in (0, 1)
    ]
    every = Detections(*zip(*found))
    counts = count_above([(OBJECTS, every, judge(OBJECTS, every))])
    seen = set()
    for step in range(101):
        left = [x for x in found if x[2] >= step / 100]
        kinds, covered = [], set()
        if left:
            judged = judge(OBJECTS, Detections(*zip(*left)))
            kinds = judged.kinds
            covered = {
                target
                for kind, target in zip(kinds, judged.targets)
                if kind in ('right', 'classification', 'localisation')
            }
        for kind in KINDS:
            assert counts[kind][step] == kinds.count(kind), (kind, step)
        assert counts['missed'][step] == 2 - len(covered)
        seen.update(kinds)
    assert seen >= {'right', 'classification', 'localisation', 'background'}


def test_ignored_regions_are_not_missed():
    objects = Objects([CAT, DOG], [0, 1], [False, True])
    nothing = Detections([], [], [])
    counts = count_above([(objects, nothing, judge(objects, nothing))])
    assert counts['missed'] == [1] * 101
