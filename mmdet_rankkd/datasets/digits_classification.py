"""80 classes of coloured handwritten digits, cut from detection images."""

from typing import Any, List, Optional, Tuple

import cv2
import numpy as np
from mmengine.dataset import BaseDataset

from mmdet_rankkd.registry import DATASETS

from .digits import CLASSES, IMAGE_SIZE, draw_image

COUNTS = {'train': 6000, 'val': 1600}


@DATASETS.register_module()
class DigitsClassification(BaseDataset):
    """The objects of images such as those of :class:`DigitsDataset`.

    Each is cut out as a square with some of its surroundings and resized to
    32 x 32 pixels; ``img`` is RGB. Made in memory when first used, always the
    same; training and validation show the writing of different people.

    Args:
        split (str): ``'train'`` or ``'val'``.
        count (int, optional): Images; 6,000 and 1,600 by default.
        imbalance (float): How many times as frequent the most frequent class
            is as the rarest, 1 or more. Above 1 the images of the classes
            fall geometrically (Cui et al., *Class-Balanced Loss Based on
            Effective Number of Samples*, CVPR 2019), in an order that has
            nothing to do with digit or colour; see :func:`long_tail`.
        **kwargs (Any): Those of ``mmengine.dataset.BaseDataset``.

    Raises:
        ValueError: If the split is none of these, or the imbalance is below
            1 or so large that a class would have no image.
    """

    METAINFO = dict(classes=CLASSES)

    def __init__(
        self,
        split: str = 'train',
        count: Optional[int] = None,
        imbalance: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if split not in COUNTS:
            raise ValueError(f"split must be 'train' or 'val', got {split!r}")
        self.split = split
        self.count = count or COUNTS[split]
        self.quotas = (
            None if imbalance == 1 else long_tail(self.count, imbalance)
        )
        super().__init__(**kwargs)

    def load_data_list(self) -> List[dict]:
        """``img`` and ``gt_label`` of each image."""
        from sklearn.datasets import load_digits

        source = load_digits()
        is_val = np.arange(len(source.target)) % 4 == 0
        mask = is_val if self.split == 'val' else ~is_val
        digits, labels = source.images[mask], source.target[mask]
        # Not the detection set's seeds.
        rng = np.random.RandomState(100 + list(COUNTS).index(self.split))
        room = None if self.quotas is None else self.quotas.copy()
        found: List[dict] = []
        while len(found) < self.count:
            image, objects = draw_image(rng, digits, labels, IMAGE_SIZE)
            for item in objects:
                label = item['category_id'] - 1
                if room is not None:
                    if room[label] == 0:
                        continue
                    room[label] -= 1
                crop = cut(image, item['bbox'])
                found.append(dict(img=crop, gt_label=label))
        return found[: self.count]


def long_tail(count: int, imbalance: float) -> np.ndarray:
    """Images of each of the 80 classes, falling geometrically.

    Args:
        count (int): Images in all.
        imbalance (float): Ratio of the most frequent class to the rarest;
            what rounding leaves goes to the most frequent classes.

    Returns:
        ndarray: Integers of shape (80,) that sum to the count.

    Raises:
        ValueError: If the imbalance is below 1, or a class would have none.
    """
    if imbalance < 1:
        raise ValueError(f'imbalance must be 1 or more, got {imbalance}')
    shares = imbalance ** -np.linspace(0, 1, len(CLASSES))
    sizes = np.floor(count * shares / shares.sum()).astype(int)
    if sizes[-1] == 0:
        raise ValueError(
            f'imbalance={imbalance} leaves the rarest class no image of '
            f'{count}; take a smaller one, or more images'
        )
    sizes[: count - sizes.sum()] += 1
    found = np.empty_like(sizes)
    found[np.random.RandomState(0).permutation(len(CLASSES))] = sizes
    return found


def cut(
    image: np.ndarray, box: Tuple[int, int, int, int], size: int = 32
) -> np.ndarray:
    """The square around a box (x, y, w, h), a fifth larger, resized."""
    x, y, w, h = box
    side = round(1.2 * max(w, h))
    left, top = x + (w - side) // 2, y + (h - side) // 2
    padded = np.pad(image, ((side, side), (side, side), (0, 0)), mode='edge')
    part = padded[top + side : top + 2 * side, left + side : left + 2 * side]
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)
