"""80 classes of coloured handwritten digits, one an image."""

from typing import Any, List

import numpy as np
from mmengine.dataset import BaseDataset

from mmdet_rankkd.registry import DATASETS

from .digits import CLASSES, COLORS, draw_background, enlarge

COUNTS = {'train': 6000, 'val': 1600}


@DATASETS.register_module()
class DigitsClassification(BaseDataset):
    """Digits in colours on muted backgrounds, drawn when first used.

    Classes, handwriting, colours and the split are those of
    :class:`DigitsDataset`; ``img`` is RGB, 32 x 32 pixels. The same seed
    draws the same images.

    Args:
        split (str): ``'train'`` or ``'val'``.
        count (int, optional): Images; 6,000 and 1,600 by default.
        label_noise (float): Part of the training images whose label is drawn
            at random.
        **kwargs (Any): Those of ``mmengine.dataset.BaseDataset``.

    Raises:
        ValueError: If the split is none of these.
    """

    METAINFO = dict(classes=CLASSES)

    def __init__(
        self,
        split: str = 'train',
        count: Any = None,
        label_noise: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if split not in COUNTS:
            raise ValueError(f"split must be 'train' or 'val', got {split!r}")
        self.split = split
        self.count = count or COUNTS[split]
        self.label_noise = label_noise
        super().__init__(**kwargs)

    def load_data_list(self) -> List[dict]:
        """``img`` and ``gt_label`` of each image."""
        from sklearn.datasets import load_digits

        source = load_digits()
        is_val = np.arange(len(source.target)) % 4 == 0
        chosen = np.flatnonzero(is_val == (self.split == 'val'))
        colors = np.array(list(COLORS.values()), float)
        rng = np.random.RandomState(list(COUNTS).index(self.split))
        found = []
        for number in range(self.count):
            # Every class comes equally often.
            color = number % len(colors)
            digit = number // len(colors) % 10
            same = chosen[source.target[chosen] == digit]
            image = source.images[rng.choice(same)] / 16
            found.append(
                dict(
                    img=draw_digit(rng, image, colors[color]),
                    gt_label=int(digit * len(colors) + color),
                )
            )
        if self.split == 'train' and self.label_noise:
            for item in found:
                if rng.rand() < self.label_noise:
                    item['gt_label'] = int(rng.randint(len(CLASSES)))
        return found


def draw_digit(
    rng: np.random.RandomState,
    digit: np.ndarray,
    color: np.ndarray,
    size: int = 32,
) -> np.ndarray:
    """One image (RGB, uint8) of a digit given as 8 x 8 values up to 1."""
    image = draw_background(rng, size)
    side = rng.randint(size * 3 // 4, size)
    alpha = (enlarge(digit, side) * 1.6).clip(0, 1)
    left, top = rng.randint(0, size - side + 1, 2)
    patch = image[top : top + side, left : left + side]
    tint = color + rng.randint(-40, 41, 3)
    patch += (tint - patch) * alpha[:, :, None]
    return np.rint(image.clip(0, 255)).astype(np.uint8)
