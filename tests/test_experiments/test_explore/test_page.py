"""The page of several work dirs, and its data."""

import base64
import json
import re

import cv2
import numpy as np
import pytest

from mmdet_rankkd.experiments.explore.errors import (
    Detections,
    Objects,
    judge,
)
from mmdet_rankkd.experiments.explore.page import (
    Settings,
    boxes_of,
    compare,
    cut,
    encode_picture,
    link,
    most_different,
)

from ...helpers import rankkd

CAT, DOG, FAR = [0, 0, 10, 10], [50, 0, 10, 10], [90, 90, 5, 5]
OBJECTS = Objects([CAT, DOG], [0, 1], [False, False])


def seen(*found):
    detections = Detections(*zip(*found)) if found else Detections([], [], [])
    return OBJECTS, detections, judge(OBJECTS, detections)


def data_of(path):
    text = path.read_text()
    (content,) = re.findall(r'id="data">(.*?)</script>', text)
    return json.loads(content)


@pytest.fixture(scope='module')
def page(work_dirs, tmp_path_factory):
    """The page of two methods, one with two seeds."""
    path = tmp_path_factory.mktemp('page') / 'report.html'
    places = [work_dirs / x for x in ('alone/seed0', 'alone/seed1')]
    places.append(work_dirs / 'distilled')
    text = rankkd(
        'report', *places, '--out', path, '--images', 4, '--score', 0.1
    )
    assert f'wrote {path}' in text
    return path


def test_methods_and_seeds(page, work_dirs):
    data = data_of(page)
    assert [x['name'] for x in data['methods']] == ['alone', 'distilled']
    seeds = [[run['seed'] for run in x['runs']] for x in data['methods']]
    assert seeds == [[0, 1], [0]]
    assert data['score'] == 0.1 and data['images'] == data['total'] == 6
    for method in data['methods']:
        for run in method['runs']:
            for key in ('config', 'checkpoint'):
                assert (page.parent / run[key]['link']).is_file()
    alone, distilled = data['overall'][0]['values']
    assert alone[1] is not None and distilled[1] is None
    assert data['overall'][0]['gains'][1][1] is None


def test_curves(page):
    curves = data_of(page)['curves']
    assert curves['train/loss'][0] == [0, 0, [[1, 3.5]]]
    assert [x[:2] for x in curves['val/coco/bbox_mAP']] == [
        [0, 0],
        [0, 1],
        [1, 0],
    ]
    assert curves['val/coco/bbox_mAP'][1][2] == [[2, 0.2]]


def test_pictures_and_counts(page):
    data, text = data_of(page), page.read_text()
    assert len(data['pictures']) == 4
    pictures = re.findall(r'id="picture\d">(.*?)</script>', text)
    assert len(pictures) == 4
    for picture, content in zip(data['pictures'], pictures):
        image = cv2.imdecode(
            np.frombuffer(base64.b64decode(content), np.uint8), 1
        )
        assert list(image.shape[1::-1]) == picture['size']
        assert len(picture['found']) == len(picture['reached']) == 2
    for method in data['methods']:
        for counts in method['counts'].values():
            assert len(counts) == 101
        missed = method['counts']['missed']
        assert missed == sorted(missed) and missed[-1] <= sum(data['objects'])
    assert not re.search(r'(src|href)="?(https?:)?//', text)


def test_the_file_is_not_overwritten(page, work_dirs):
    before = page.read_bytes()
    arguments = ('report', work_dirs / 'big', '--out', page)
    assert '--force' in rankkd(*arguments, status=1)
    assert page.read_bytes() == before


def test_other_test_sets_are_not_compared(work_dirs, tmp_path):
    other = tmp_path / 'other'
    other.mkdir()
    text = (work_dirs / 'big/teacher.py').read_text()
    text += "\ntest_dataloader['dataset']['indices'] = 3\n"
    (other / 'teacher.py').write_text(text)
    (other / 'epoch_1.pth').symlink_to(work_dirs / 'big/epoch_1.pth')
    out = tmp_path / 'x.html'
    said = rankkd(
        'report', work_dirs / 'big', other, '--out', out, '--limit', 6,
        status=1,
    )  # fmt: skip
    assert str(other) in said and 'its test set is not that of' in said
    assert not out.exists()


def test_weights_of_another_model(work_dirs, tmp_path):
    wrong = tmp_path / 'wrong'
    wrong.mkdir()
    text = (work_dirs / 'big/teacher.py').read_text()
    (wrong / 'teacher.py').write_text(text)
    checkpoint = work_dirs / 'alone/seed0/epoch_1.pth'
    (wrong / 'epoch_1.pth').symlink_to(checkpoint)
    said = rankkd('report', wrong, '--out', tmp_path / 'x.html', status=1)
    assert str(wrong) in said and 'does not fit' in said


def test_pictures_with_most_differences_come_first():
    both = [(CAT, 0, 0.9), (DOG, 1, 0.9)]
    good = [seen(*both), seen(*both), seen(*both), seen(*both, (FAR, 0, 0.9))]
    bad = [seen(*both), seen(both[0]), seen((CAT, 0, 0.2)), seen(*both)]
    settings = Settings(images=3, score=0.3)
    assert most_different([good, bad], settings) == [2, 1, 3]
    assert most_different([good], settings) == [3, 0, 1]


def test_boxes_of_a_picture():
    image = seen((CAT, 0, 0.98765), (DOG, 0, 0.5), (FAR, 1, 0.04))
    found = boxes_of([image], Settings(least_score=0.05))
    assert found == dict(
        objects=[[*CAT, 0, 0], [*DOG, 1, 0]],
        found=[[[*CAT, 0, 0.9876, 0, 0], [*DOG, 0, 0.5, 1, 1]]],
        reached=[[[0.9876, -1], [-1, 0.5], [-1, -1]]],
    )


@pytest.mark.parametrize(
    'score, shown', [(0.29, 0.29), (0.29999, 0.2999), (1, 1), (-1, -1)]
)
def test_scores_are_cut(score, shown):
    assert cut(score) == shown


def test_gains_are_paired_by_seed():
    found = compare(dict(a={0: 10.0, 1: 20.0}, b={1: 23.0, 0: 12.0}, c={5: 9}))
    assert [x[0] for x in found['values']] == [15, 17.5, 9]
    gain, low, high = found['gains'][1]
    assert gain == 2.5 and (low + high) / 2 == pytest.approx(2.5)
    # t of one degree of freedom at 0.975, times the standard error of 0.5
    assert high - gain == pytest.approx(12.706 / 2, abs=1e-3)
    assert found['gains'][2] == [-6, None, None]
    assert compare(dict(a={}, b={0: 1.0}))['gains'] == [None, None]


def test_large_pictures_are_made_smaller(tmp_path):
    file = tmp_path / 'a.png'
    cv2.imwrite(str(file), np.full((100, 400, 3), 90, np.uint8))
    content = base64.b64decode(encode_picture(str(file), 200))
    image = cv2.imdecode(np.frombuffer(content, np.uint8), 1)
    assert image.shape == (50, 200, 3) and abs(int(image.mean()) - 90) < 3
    (tmp_path / 'b.png').write_text('no image')
    with pytest.raises(ValueError, match='b.png cannot be read'):
        encode_picture(str(tmp_path / 'b.png'), 200)


def test_links_are_relative_and_quoted(tmp_path):
    file = tmp_path / 'runs/a "b" <c>#1/x.py'
    assert link(file, tmp_path / 'out/report.html') == (
        '../runs/a%20%22b%22%20%3Cc%3E%231/x.py'
    )
