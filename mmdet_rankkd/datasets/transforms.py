"""Transforms for classification that neither mmcv nor mmdet has.

They act on ``results['img']``, (H, W, 3) and uint8, with random numbers of
NumPy, as mmcv's do.
"""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from PIL import Image, ImageEnhance, ImageOps

from mmdet_rankkd.registry import TRANSFORMS
from mmdet_rankkd.structures import ClsDataSample

Color = Sequence[float]


@TRANSFORMS.register_module()
class PadCrop(BaseTransform):
    """Pad with zeros on all sides, then crop a random part of the old size.

    Args:
        padding (int): Pixels on each side.
    """

    def __init__(self, padding: int = 4) -> None:
        self.padding = padding

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Replace ``img``."""
        height, width = results['img'].shape[:2]
        p = self.padding
        image = mmcv.impad(results['img'], padding=(p, p, p, p))
        top, left = np.random.randint(0, 2 * p + 1, 2)
        results['img'] = image[top : top + height, left : left + width]
        return results


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Crop a random part of the image and resize it to a square.

    Area and aspect ratio are tried ten times; then the largest centre crop
    of an allowed ratio is taken (Szegedy et al., CVPR 2015).

    Args:
        size (int): Side of the result in pixels.
        scale (tuple[float, float]): Range of the area, as part of the image.
        ratio (tuple[float, float]): Range of width over height.
        interpolation (str): Interpolation of ``mmcv.imresize``.
    """

    def __init__(
        self,
        size: int,
        scale: Tuple[float, float] = (0.08, 1.0),
        ratio: Tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = 'bilinear',
    ) -> None:
        self.size = size
        self.scale = scale
        self.ratio = ratio
        self.interpolation = interpolation

    def box(self, height: int, width: int) -> Tuple[int, int, int, int]:
        """Left, top, width and height of the part, in pixels."""
        low, high = np.log(self.ratio)
        for _ in range(10):
            area = height * width * np.random.uniform(*self.scale)
            ratio = np.exp(np.random.uniform(low, high))
            w = round((area * ratio) ** 0.5)
            h = round((area / ratio) ** 0.5)
            if 0 < w <= width and 0 < h <= height:
                left = np.random.randint(0, width - w + 1)
                top = np.random.randint(0, height - h + 1)
                return left, top, w, h
        w = min(width, round(height * self.ratio[1]))
        h = min(height, round(width / self.ratio[0]))
        return (width - w) // 2, (height - h) // 2, w, h

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Replace ``img``."""
        image = results['img']
        left, top, w, h = self.box(*image.shape[:2])
        results['img'] = mmcv.imresize(
            image[top : top + h, left : left + w],
            (self.size, self.size),
            interpolation=self.interpolation,
        )
        return results


@TRANSFORMS.register_module()
class ResizeShort(BaseTransform):
    """Resize so that the shorter side has a given length.

    Args:
        size (int): Size of the shorter side in pixels.
        interpolation (str): Interpolation of ``mmcv.imresize``.
    """

    def __init__(self, size: int, interpolation: str = 'bilinear') -> None:
        self.size = size
        self.interpolation = interpolation

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Replace ``img``."""
        height, width = results['img'].shape[:2]
        factor = self.size / min(height, width)
        size = tuple(
            max(round(n * factor), self.size) for n in (width, height)
        )
        results['img'] = mmcv.imresize(
            results['img'], size, interpolation=self.interpolation
        )
        return results


@TRANSFORMS.register_module()
class RandomCutout(BaseTransform):
    """Fill one square of a random size at a random place.

    Args:
        ratio (float): Greatest side of the square over the image's width; it
            is uniform from 0 to that.
        fill (tuple[float, float, float]): Colour, in the order of ``img``.
    """

    def __init__(
        self, ratio: float = 0.5, fill: Color = (125, 123, 114)
    ) -> None:
        self.ratio = ratio
        self.fill = fill

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Replace ``img``."""
        image = results['img'].copy()
        height, width = image.shape[:2]
        side = width * np.random.uniform(0, self.ratio)
        x, y = np.random.uniform(0, width), np.random.uniform(0, height)
        left, top = int(max(0, x - side / 2)), int(max(0, y - side / 2))
        right, bottom = int(min(width, left + side)), int(top + side)
        image[top:bottom, left:right] = self.fill
        results['img'] = image
        return results


@TRANSFORMS.register_module()
class RandomNoiseErasing(BaseTransform):
    """Replace a random box by noise (Zhong et al., AAAI 2020; as in timm).

    The noise is normal with the mean and the standard deviation of the data
    set, rounded to pixels.

    Args:
        prob (float): Probability that an image is changed.
        mean (tuple[float, float, float]): Mean in the order of ``img``.
        std (tuple[float, float, float]): Deviation in the order of ``img``.
        area (tuple[float, float]): Range of the box over the image.
        ratio (float): Greatest aspect ratio; the least is its inverse.
    """

    def __init__(
        self,
        prob: float = 0.25,
        mean: Color = (123.675, 116.28, 103.53),
        std: Color = (58.395, 57.12, 57.375),
        area: Tuple[float, float] = (0.02, 1 / 3),
        ratio: float = 1 / 0.3,
    ) -> None:
        self.prob = prob
        self.mean = np.array(mean)
        self.std = np.array(std)
        self.area = area
        self.ratio = ratio

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Replace ``img``."""
        if np.random.rand() > self.prob:
            return results
        image = results['img'].copy()
        height, width = image.shape[:2]
        limit = np.log(self.ratio)
        for _ in range(10):
            area = np.random.uniform(*self.area) * height * width
            ratio = np.exp(np.random.uniform(-limit, limit))
            h, w = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if h < height and w < width:
                top = np.random.randint(0, height - h + 1)
                left = np.random.randint(0, width - w + 1)
                noise = self.mean + self.std * np.random.randn(h, w, 3)
                image[top : top + h, left : left + w] = noise.round().clip(
                    0, 255
                )
                break
        results['img'] = image
        return results


def _affine(image: Image.Image, matrix: Tuple, fill: Tuple) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        Image.Resampling.BILINEAR,
        fillcolor=fill,
    )


def _solarize_add(image: Image.Image, amount: float) -> Image.Image:
    table = [min(255, i + int(amount)) if i < 128 else i for i in range(256)]
    return image.point(table * 3)


# Each takes an image, a magnitude and a colour to fill with.
OPERATIONS: Dict[str, Callable] = {
    'AutoContrast': lambda i, v, f: ImageOps.autocontrast(i),
    'Equalize': lambda i, v, f: ImageOps.equalize(i),
    'Identity': lambda i, v, f: i,
    'Invert': lambda i, v, f: ImageOps.invert(i),
    'Brightness': lambda i, v, f: ImageEnhance.Brightness(i).enhance(v),
    'Color': lambda i, v, f: ImageEnhance.Color(i).enhance(v),
    'Contrast': lambda i, v, f: ImageEnhance.Contrast(i).enhance(v),
    'Sharpness': lambda i, v, f: ImageEnhance.Sharpness(i).enhance(v),
    'Posterize': lambda i, v, f: ImageOps.posterize(i, max(int(v), 1)),
    'Solarize': lambda i, v, f: ImageOps.solarize(i, int(v)),
    'SolarizeAdd': lambda i, v, f: _solarize_add(i, v),
    'Rotate': lambda i, v, f: i.rotate(
        v, Image.Resampling.BILINEAR, fillcolor=f
    ),
    'ShearX': lambda i, v, f: _affine(i, (1, v, 0, 0, 1, 0), f),
    'ShearY': lambda i, v, f: _affine(i, (1, 0, 0, v, 1, 0), f),
    'TranslateX': lambda i, v, f: _affine(i, (1, 0, v * i.width, 0, 1, 0), f),
    'TranslateY': lambda i, v, f: _affine(i, (1, 0, 0, 0, 1, v * i.height), f),
}
#: MLKD's strong view: magnitudes uniform between two ends.
UNIFORM = {
    'AutoContrast': (0, 0),
    'Brightness': (0.05, 0.95),
    'Color': (0.05, 0.95),
    'Contrast': (0.05, 0.95),
    'Equalize': (0, 0),
    'Identity': (0, 0),
    'Posterize': (4, 8),
    'Rotate': (-30, 30),
    'Sharpness': (0.05, 0.95),
    'ShearX': (-0.3, 0.3),
    'ShearY': (-0.3, 0.3),
    'Solarize': (0, 256),
    'TranslateX': (-0.3, 0.3),
    'TranslateY': (-0.3, 0.3),
}
#: timm's ``inc1``: magnitude at the greatest level, from that at level 0, and
#: whether its sign is drawn. Enhancements go from 1 in either direction.
INCREASING = {
    'AutoContrast': (0, 0, False),
    'Equalize': (0, 0, False),
    'Invert': (0, 0, False),
    'Rotate': (0, 30, True),
    'Posterize': (4, 0, False),
    'Solarize': (256, 0, False),
    'SolarizeAdd': (0, 110, False),
    'Color': (0, 0.9, True),
    'Contrast': (0, 0.9, True),
    'Brightness': (0, 0.9, True),
    'Sharpness': (0, 0.9, True),
    'ShearX': (0, 0.3, True),
    'ShearY': (0, 0.3, True),
    'TranslateX': (0, 0.45, True),
    'TranslateY': (0, 0.45, True),
}
ENHANCEMENTS = ('Color', 'Contrast', 'Brightness', 'Sharpness')


@TRANSFORMS.register_module()
class RandAugmentPIL(BaseTransform):
    """Random operations of Pillow, drawn with replacement.

    MMDetection's ``RandAugment`` draws without and rounds magnitudes to
    tenths, so it cannot do either of these.

    Args:
        policy (str): ``'uniform'``: each operation at a magnitude uniform in
            its range (the strong view of MLKD). ``'increasing'``: each with
            probability 0.5 at a level of mean ``level`` and standard
            deviation ``std`` out of 10 (timm's ``rand-m9-mstd0.5-inc1``).
        count (int): Operations an image.
        level (float): Only of ``'increasing'``.
        std (float): Only of ``'increasing'``.
        fill (tuple[int, int, int]): Colour outside the image, as RGB.
        order (str): Channels of ``img``, ``'rgb'`` or ``'bgr'``.

    Raises:
        ValueError: If policy or order are unknown.
    """

    def __init__(
        self,
        policy: str = 'uniform',
        count: int = 2,
        level: float = 9.0,
        std: float = 0.5,
        fill: Tuple[int, int, int] = (0, 0, 0),
        order: str = 'rgb',
    ) -> None:
        if policy not in ('uniform', 'increasing'):
            raise ValueError(
                f"policy must be 'uniform' or 'increasing', got {policy!r}"
            )
        if order not in ('rgb', 'bgr'):
            raise ValueError(f"order must be 'rgb' or 'bgr', got {order!r}")
        self.policy = policy
        self.count = count
        self.level = level
        self.std = std
        self.fill = tuple(fill)
        self.order = order

    def draw(self) -> List[Tuple[str, float]]:
        """Operations and their magnitudes."""
        space: Any = UNIFORM if self.policy == 'uniform' else INCREASING
        names = list(space)
        chosen = [
            names[i] for i in np.random.randint(0, len(names), self.count)
        ]
        if self.policy == 'uniform':
            return [(n, np.random.uniform(*UNIFORM[n])) for n in chosen]
        result = []
        for name in chosen:
            if np.random.rand() > 0.5:
                continue
            level = np.clip(np.random.normal(self.level, self.std), 0, 10)
            start, end, signed = INCREASING[name]
            value = start + (end - start) * level / 10
            if signed and np.random.rand() > 0.5:
                value = -value
            if name in ENHANCEMENTS:
                value = max(0.1, 1 + value)
            result.append((name, value))
        return result

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Replace ``img``."""
        step = 1 if self.order == 'rgb' else -1
        pixels = np.ascontiguousarray(results['img'][:, :, ::step])
        image = Image.fromarray(pixels)
        for name, value in self.draw():
            image = OPERATIONS[name](image, value, self.fill)
        results['img'] = np.asarray(image)[:, :, ::step]
        return results


@TRANSFORMS.register_module()
class TwoViews(BaseTransform):
    """A weak and a strong view of each image, each from the original.

    Args:
        weak (list[dict]): Transforms that make ``img``.
        strong (list[dict]): Transforms that make ``img_strong``.
    """

    def __init__(self, weak: List[dict], strong: List[dict]) -> None:
        self.weak = Compose(weak)
        self.strong = Compose(strong)

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Replace ``img`` and add ``img_strong``."""
        strong = self.strong(dict(results, img=results['img'].copy()))
        results = self.weak(results)
        results['img_strong'] = strong['img']
        return results


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, C) to a contiguous tensor (C, H, W) of the same type."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


@TRANSFORMS.register_module()
class PackCls(BaseTransform):
    """Pack image (and strong view) and label for a classifier.

    Args:
        meta_keys (Sequence[str]): Entries kept as facts of the image.
    """

    def __init__(
        self, meta_keys: Sequence[str] = ('sample_idx', 'img_path')
    ) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """``inputs``, ``data_samples`` and perhaps ``strong_inputs``."""
        sample = ClsDataSample(
            metainfo={k: results[k] for k in self.meta_keys if k in results}
        )
        sample.set_gt_label(int(results['gt_label']))
        packed = dict(inputs=to_tensor(results['img']), data_samples=sample)
        if 'img_strong' in results:
            packed['strong_inputs'] = to_tensor(results['img_strong'])
        return packed
