"""Average precision by hand, and against the detections' loader of COCO."""

import pytest

from mmdet_rankkd.experiments.explore.precision import average_precision


def truth(*labels):
    """An object of 10 x 10 pixels of each class, side by side."""
    return dict(
        images=[dict(id=1, width=100, height=20)],
        categories=[dict(id=i, name=f'class {i}') for i in (1, 2, 3)],
        annotations=[
            dict(
                id=number,
                image_id=1,
                category_id=label,
                bbox=[20 * number, 0, 10, 10],
                area=100,
                iscrowd=0,
            )
            for number, label in enumerate(labels, 1)
        ],
    )


def found(number, label, score, x=0):
    box = [20 * number + x, 0, 10, 10]
    return dict(image_id=1, category_id=label, bbox=box, score=score)


def test_classes_by_hand():
    """One is found; one at an IoU of 9 / 11, so at 7 of 10 thresholds."""
    result = average_precision(
        truth(1, 2), [found(1, 1, 0.9), found(2, 2, 0.8, x=1)]
    )
    assert result.classes == [pytest.approx(100), pytest.approx(70), None]
    assert result.overall == pytest.approx(dict(AP=85, AP50=100, AP75=100))


def test_a_false_alarm_before_the_object_halves_it():
    result = average_precision(truth(1), [found(3, 1, 0.9), found(1, 1, 0.8)])
    assert result.classes[0] == pytest.approx(50)


def test_nothing_found_and_nothing_there():
    assert average_precision(truth(1), []).classes == [0, None, None]
    with pytest.raises(ValueError, match='no object is annotated'):
        average_precision(truth(), [found(1, 1, 0.9)])


def test_what_is_given_stays_as_it_is():
    content, detections = truth(1), [found(1, 1, 0.9)]
    average_precision(content, detections)
    assert content == truth(1) and detections == [found(1, 1, 0.9)]
