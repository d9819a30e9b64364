import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from mmdet_rankkd.datasets import digits
from mmdet_rankkd.datasets.digits import CLASSES, COLORS, enlarge, make_digits

SMALL = dict(train=6, val=4)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('digits') / 'set'
    make_digits(folder, SMALL, 64)
    return folder


def test_it_is_a_coco_set_of_80_classes(root):
    coco = COCO(str(root / 'train.json'))
    assert len(coco.imgs) == 6
    categories = coco.loadCats(coco.getCatIds())
    assert tuple(c['name'] for c in categories) == CLASSES
    assert len(CLASSES) == 80
    assert len({c['supercategory'] for c in categories}) == 10
    for annotation in coco.anns.values():
        x, y, w, h = annotation['bbox']
        assert x >= 0 and x + w <= 64 and y >= 0 and y + h <= 64
        assert annotation['area'] == w * h > 0


def test_the_ink_in_a_box_has_the_colour_of_its_class(root):
    coco = COCO(str(root / 'train.json'))
    names, tints = list(COLORS), np.array(list(COLORS.values()), float)
    right = []
    for annotation in coco.anns.values():
        info = coco.imgs[annotation['image_id']]
        image = cv2.imread(str(root / 'train' / info['file_name']))
        x, y, w, h = annotation['bbox']
        crop = image[y : y + h, x : x + w, ::-1].reshape(-1, 3).astype(float)
        color = CLASSES[annotation['category_id'] - 1].split()[0]
        distance = np.linalg.norm(crop[:, None] - tints, axis=2)
        near = distance.min(1) < 45
        votes = np.bincount(distance[near].argmin(1), minlength=8)
        right.append(votes.argmax() == names.index(color))
    assert np.mean(right) > 0.95


def test_deterministic_and_checked(root, tmp_path):
    digest = make_digits(root, SMALL, 64)
    assert make_digits(tmp_path / 'again', SMALL, 64) == digest
    path = tmp_path / 'again/val/000001.png'
    image = cv2.imread(str(path))
    image[0, 0] ^= 1
    cv2.imwrite(str(path), image)
    with pytest.raises(ValueError, match='Move the folder away'):
        make_digits(tmp_path / 'again', SMALL, 64, expected=digest)
    assert path.exists()


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(ValueError, match='is not the digits set .*train.json'):
        make_digits(tmp_path)
    (tmp_path / 'train.json').write_text('<html>')
    with pytest.raises(ValueError, match='is not the digits set'):
        make_digits(tmp_path)
    assert (tmp_path / 'notes.txt').read_text() == 'mine'


def test_interrupted_generation(tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(digits, 'draw_image', stop)
        with pytest.raises(KeyboardInterrupt):
            make_digits(tmp_path / 'set', SMALL, 64)
    assert not (tmp_path / 'set').exists()
    make_digits(tmp_path / 'set', SMALL, 64)
    assert not (tmp_path / 'set.partial').exists()


def test_training_and_validation_use_other_handwriting(monkeypatch, tmp_path):
    seen = {}
    draw = digits.draw_image

    def keep(rng, images, labels, size):
        seen.setdefault(len(images), images)
        return draw(rng, images, labels, size)

    monkeypatch.setattr(digits, 'draw_image', keep)
    make_digits(tmp_path / 'set', dict(train=1, val=1), 64)
    first, second = seen.values()
    assert len(first) + len(second) == 1797
    rows = {image.tobytes() for image in first}
    assert sum(image.tobytes() in rows for image in second) <= 1


def test_enlarge_keeps_constants_and_range():
    assert np.allclose(enlarge(np.full((8, 8), 3.0), 21), 3)
    image = np.random.RandomState(0).rand(8, 8)
    large = enlarge(image, 40)
    assert large.shape == (40, 40)
    assert image.min() <= large.min() and large.max() <= image.max()


def test_the_data_set_class_reads_it(root):
    from mmengine.registry import DATASETS

    dataset = DATASETS.build(
        dict(
            type='mmdet_rankkd.DigitsDataset',
            data_root=str(root),
            ann_file='train.json',
            data_prefix=dict(img='train/'),
            pipeline=[],
            _scope_='mmdet',
        )
    )
    assert dataset.metainfo['classes'] == CLASSES
    truth = json.loads((root / 'train.json').read_text())
    assert len(dataset) == 6
    first = dataset.get_data_info(0)['instances'][0]
    assert first['bbox_label'] == truth['annotations'][0]['category_id'] - 1
