"""The threshold of the highest F1, against a search over all of them."""

import numpy as np
import pytest

from mmdet_rankkd.evaluation.f1 import HIT, IGNORED, MISS, best_f1, match_boxes


def f1_at(threshold, scores, hits, objects):
    kept = scores >= threshold
    right = (hits & kept).sum()
    return 2 * right / (kept.sum() + objects)


@pytest.mark.parametrize('seed', range(5))
def test_best_of_all_thresholds(seed):
    rng = np.random.RandomState(seed)
    # Few digits, so that many scores are equal.
    scores = rng.rand(60).round(1 + seed % 3)
    hits = rng.rand(60) < scores
    found = best_f1(scores, hits, 40)
    every = {t: f1_at(t, scores, hits, 40) for t in set(scores)}
    best = max(every.values())
    assert found.f1 == pytest.approx(best)
    assert found.threshold == max(
        t for t, x in every.items() if x == pytest.approx(best)
    )
    kept = scores >= found.threshold
    assert found.precision == pytest.approx(hits[kept].mean())
    assert found.recall == pytest.approx(hits[kept].sum() / 40)


def test_without_a_hit():
    with pytest.raises(ValueError, match='no box is on an object'):
        best_f1(np.array([0.5]), np.array([False]), 3)
    with pytest.raises(ValueError, match='no box is on an object'):
        best_f1(np.zeros(0), np.zeros(0, bool), 3)


def test_each_object_is_found_once():
    overlaps = np.array([[0.6, 0.7], [0.9, 0.8], [0.9, 0.9], [0.4, 0]])
    crowds = np.array([[0.9], [0], [0], [0.6]])
    found = match_boxes(overlaps, crowds)
    assert found.tolist() == [HIT, HIT, MISS, IGNORED]


def test_without_objects_or_boxes():
    assert (
        match_boxes(np.zeros((2, 0)), np.zeros((2, 0))).tolist() == [MISS] * 2
    )
    assert len(match_boxes(np.zeros((0, 3)), np.zeros((0, 1)))) == 0
