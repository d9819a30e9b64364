"""Transforms of classification."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmdet_rankkd.datasets import transforms as T
from mmdet_rankkd.registry import TRANSFORMS


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


@pytest.fixture
def image():
    return np.random.RandomState(1).randint(0, 256, (32, 32, 3), np.uint8)


def test_pad_crop(image):
    """Every result is a part of the padded image, and all places occur."""
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    parts = {
        padded[y : y + 32, x : x + 32].tobytes(): (y, x)
        for y in range(9)
        for x in range(9)
    }
    seen = set()
    for _ in range(1500):
        found = T.PadCrop(4).transform(dict(img=image))['img']
        seen.add(parts[found.tobytes()])
    assert len(seen) == 81


def test_random_resized_crop():
    crop = T.RandomResizedCrop(24)
    areas, ratios = [], []
    for _ in range(2000):
        left, top, w, h = crop.box(60, 80)
        assert 0 <= left <= 80 - w and 0 <= top <= 60 - h
        areas.append(w * h / 4800)
        ratios.append(w / h)
    assert 0.07 < min(areas) < 0.12 and 0.9 < max(areas) <= 1
    assert min(ratios) > 0.7 and max(ratios) < 1.4
    image = np.zeros((60, 80, 3), np.uint8)
    assert crop.transform(dict(img=image))['img'].shape == (24, 24, 3)
    # No allowed part fits a strip of this form: its centre is taken.
    strip = T.RandomResizedCrop(24, scale=(0.9, 1.0)).box(10, 100)
    assert strip == (43, 0, 13, 10)


def test_resize_short():
    image = np.zeros((30, 50, 3), np.uint8)
    resized = T.ResizeShort(60).transform(dict(img=image))['img']
    assert resized.shape == (60, 100, 3)


def test_random_cutout(image):
    sides = []
    for _ in range(500):
        found = T.RandomCutout().transform(dict(img=image))['img']
        hole = (found == (125, 123, 114)).all(-1)
        assert np.array_equal(found[~hole], image[~hole])
        rows = np.flatnonzero(hole.any(1))
        sides.append(len(rows))
        if len(rows):
            box = hole[rows[0] : rows[-1] + 1]
            columns = np.flatnonzero(box.any(0))
            assert box[:, columns].all()
    assert max(sides) <= 17 and max(sides) > 13 and min(sides) == 0


def test_noise_erasing(image):
    kept = T.RandomNoiseErasing(prob=0.0).transform(dict(img=image))['img']
    np.testing.assert_array_equal(kept, image)
    changed = []
    for _ in range(300):
        found = T.RandomNoiseErasing(prob=0.5).transform(dict(img=image))
        changed.append((found['img'] != image).any(-1).mean())
    share = np.mean(np.array(changed) > 0)
    assert 0.4 < share < 0.6
    assert 0.28 < max(changed) <= 0.36


@pytest.mark.parametrize('policy', ['uniform', 'increasing'])
def test_rand_augment_draws(policy):
    """Operations repeat, and magnitudes fill their ranges."""
    augment = T.RandAugmentPIL(policy, count=2)
    drawn = [augment.draw() for _ in range(6000)]
    values = {}
    for pair in drawn:
        for name, value in pair:
            values.setdefault(name, []).append(value)
    if policy == 'uniform':
        assert set(values) == set(T.UNIFORM)
        assert any(a[0] == b[0] for a, b in drawn)
        for name, (low, high) in T.UNIFORM.items():
            assert low <= min(values[name]) <= max(values[name]) <= high
            width = 0.02 * (high - low)
            assert min(values[name]) <= low + width
            assert max(values[name]) >= high - width
        return
    assert set(values) == set(T.INCREASING)
    # Each of the two is skipped half of the time.
    assert 0.47 < np.mean([len(p) for p in drawn]) / 2 < 0.53
    for name, middle in (('Rotate', 27), ('ShearX', 0.27)):
        sizes = np.abs(values[name])
        assert abs(sizes.mean() - middle) < 0.01 * middle
        assert 0.4 < np.mean(np.array(values[name]) > 0) < 0.6
    up = [v for v in values['Color'] if v > 1]
    down = [v for v in values['Color'] if v < 1]
    assert abs(np.mean(up) - 1.81) < 0.02
    assert abs(np.mean(down) - 0.19) < 0.02 and min(down) >= 0.1
    assert abs(np.mean(values['Posterize']) - 0.4) < 0.05
    assert abs(np.mean(values['Solarize']) - 25.6) < 3


@pytest.mark.parametrize('name', sorted(T.OPERATIONS))
def test_operations(name, image):
    image = image // 2 + 20
    value = T.INCREASING.get(name, (0, 0, 0))[1] / 2 or 1.0
    picture = Image.fromarray(image)
    found = np.asarray(T.OPERATIONS[name](picture, value, (0, 0, 0)))
    assert found.shape == image.shape and found.dtype == np.uint8
    if name not in ('Identity', *T.ENHANCEMENTS):
        assert not np.array_equal(found, image)


def test_geometry(image):
    picture = Image.fromarray(image)
    fill = (1, 2, 3)
    moved = np.asarray(T.OPERATIONS['TranslateX'](picture, 0.25, fill))
    np.testing.assert_array_equal(moved[:, :24], image[:, 8:])
    assert (moved[:, 24:] == fill).all()
    moved = np.asarray(T.OPERATIONS['TranslateY'](picture, -0.25, fill))
    np.testing.assert_array_equal(moved[8:], image[:24])
    added = np.asarray(T.OPERATIONS['SolarizeAdd'](picture, 100, fill))
    expected = np.where(image < 128, image.astype(int) + 100, image)
    np.testing.assert_array_equal(added, expected)


def test_order_of_the_channels(image):
    """The same draw in either order gives the same picture."""
    results = []
    for order, step in (('rgb', 1), ('bgr', -1)):
        np.random.seed(3)
        augment = T.RandAugmentPIL('uniform', count=6, order=order)
        found = augment.transform(dict(img=image[..., ::step]))['img']
        results.append(found[..., ::step])
    np.testing.assert_array_equal(*results)


def test_two_views_and_packing(image):
    views = TRANSFORMS.build(
        dict(
            type='mmdet_rankkd.TwoViews',
            weak=[dict(type='mmdet_rankkd.PadCrop', padding=1)],
            strong=[dict(type='mmdet_rankkd.RandomCutout', fill=(9, 9, 9))],
        )
    )
    before = image.copy()
    results = views(dict(img=image, gt_label=7, sample_idx=3))
    packed = T.PackCls()(results)
    np.testing.assert_array_equal(image, before)
    assert packed['inputs'].shape == packed['strong_inputs'].shape
    assert packed['inputs'].dtype == torch.uint8
    strong = packed['strong_inputs'].permute(1, 2, 0).numpy()
    hole = (strong == 9).all(-1)
    np.testing.assert_array_equal(strong[~hole], image[~hole])
    sample = packed['data_samples']
    assert sample.gt_label.tolist() == [7] and sample.sample_idx == 3
    assert 'strong_inputs' not in T.PackCls()(dict(img=image, gt_label=0))


@pytest.mark.parametrize(
    'arguments', [dict(policy='other'), dict(order='hsv')]
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match='must be'):
        T.RandAugmentPIL(**arguments)
