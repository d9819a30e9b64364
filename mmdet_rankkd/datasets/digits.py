"""A COCO-format detection set made on the spot from handwritten digits.

80 classes as in COCO, with the same kind of class structure: 10 digits
(supercategories) in 8 colours. The handwriting is that of scikit-learn's
``load_digits`` (UCI ML hand-written digits, 1,797 images of 8 x 8); training
and validation images use different ones.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

import cv2
import numpy as np
from mmdet.datasets import CocoDataset
from tqdm import tqdm

from mmdet_rankkd.registry import DATASETS

COLORS = {
    'red': (225, 40, 40),
    'orange': (240, 140, 30),
    'yellow': (240, 230, 50),
    'green': (50, 190, 60),
    'cyan': (50, 215, 225),
    'blue': (50, 80, 235),
    'purple': (165, 60, 220),
    'white': (245, 245, 245),
}
CLASSES = tuple(f'{color} {digit}' for digit in range(10) for color in COLORS)
IMAGE_SIZE = 64
SPLITS = {'train': 2000, 'val': 1000}
#: Numbers that each split is drawn from. 'more' has the handwriting of 'train'
#: in images of its own.
SEEDS = {'train': 0, 'val': 1, 'more': 2}
#: SHA-256 over the pixels and annotations of the set of the default size.
DIGEST = '28f7a674a9539832c60c4bdd44faf06b22bac71ac74a75ac482b8a1b4dcae06e'


@DATASETS.register_module()
class DigitsDataset(CocoDataset):
    """The digits set; made by :func:`make_digits`."""

    METAINFO = {
        'classes': CLASSES,
        'palette': [rgb for _ in range(10) for rgb in COLORS.values()],
    }


def enlarge(image: np.ndarray, size: int) -> np.ndarray:
    """Bilinear enlargement of a square image, the same on every machine."""
    source = image.shape[0]
    position = (np.arange(size) + 0.5) * source / size - 0.5
    position = position.clip(0, source - 1)
    low = np.floor(position).astype(int).clip(0, source - 2)
    part = position - low
    rows = image[low] * (1 - part)[:, None] + image[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def draw_background(rng: np.random.RandomState, size: int) -> np.ndarray:
    """A muted gradient, stripes, a checkerboard or soft blobs."""
    first, second = rng.randint(20, 140, (2, 1, 1, 3)).astype(float)
    # Muted: halfway between the colour and its grey, so that background
    # colours do not pass for object colours.
    first, second = (0.5 * c + 0.5 * c.mean() for c in (first, second))
    y, x = np.mgrid[:size, :size] / size
    kind = rng.randint(4)
    if kind == 0:
        mix = x * rng.rand() + y * rng.rand()
        mix = mix / 2
    elif kind == 1:
        wave = rng.randint(3, 9) * (x + y * rng.randint(-1, 2))
        mix = (np.floor(2 * wave) % 2).astype(float)
    elif kind == 2:
        count = rng.randint(3, 9)
        mix = ((np.floor(x * count) + np.floor(y * count)) % 2).astype(float)
    else:
        mix = enlarge(rng.rand(6, 6), size)
    image = first + (second - first) * mix[:, :, None]
    return image + rng.randint(-8, 9, (size, size, 1))


def overlap(box: List[int], others: List[List[int]]) -> bool:
    """Whether a box (x, y, w, h) covers more than a tenth of another."""
    x, y, w, h = box
    for ox, oy, ow, oh in others:
        width = max(min(x + w, ox + ow) - max(x, ox), 0)
        height = max(min(y + h, oy + oh) - max(y, oy), 0)
        if width * height > 0.1 * min(w * h, ow * oh):
            return True
    return False


def draw_image(
    rng: np.random.RandomState,
    digits: np.ndarray,
    labels: np.ndarray,
    size: int,
) -> Tuple[np.ndarray, List[Dict[str, Any]]]:
    """One image (RGB, uint8) and its annotations."""
    image = draw_background(rng, size)
    boxes: List[List[int]] = []
    annotations = []
    colors = np.array(list(COLORS.values()), float)
    for _ in range(rng.randint(2, 7)):
        side = int(size * np.exp(rng.uniform(np.log(0.17), np.log(0.5))))
        index, color = rng.randint(len(digits)), rng.randint(len(colors))
        alpha = enlarge(digits[index] / 16, side)
        alpha = (alpha * 1.6).clip(0, 1)
        ink = alpha > 0.3
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        for _ in range(10):
            left, top = rng.randint(0, size - side + 1, 2)
            box = [
                int(left + columns[0]),
                int(top + rows[0]),
                int(columns[-1] - columns[0] + 1),
                int(rows[-1] - rows[0] + 1),
            ]
            if not overlap(box, boxes):
                break
        else:
            continue
        tint = colors[color] + rng.randint(-20, 21, 3)
        patch = image[top : top + side, left : left + side]
        patch += (tint - patch) * alpha[:, :, None]
        boxes.append(box)
        annotations.append(
            dict(
                category_id=int(labels[index]) * len(colors) + int(color) + 1,
                bbox=box,
                area=box[2] * box[3],
                iscrowd=0,
            )
        )
    return np.rint(image.clip(0, 255)).astype(np.uint8), annotations


def make_split(
    root: Path, split: str, count: int, size: int, digest: Any
) -> None:
    """Write the images and annotations of one split; feed the digest."""
    from sklearn.datasets import load_digits

    source = load_digits()
    is_val = np.arange(len(source.target)) % 4 == 0
    mask = is_val if split == 'val' else ~is_val
    digits, labels = source.images[mask], source.target[mask]
    rng = np.random.RandomState(SEEDS[split])
    (root / split).mkdir(parents=True)
    images: List[dict] = []
    annotations: List[dict] = []
    for number in tqdm(range(1, count + 1), desc=f'digits, {split}', ncols=79):
        pixels, found = draw_image(rng, digits, labels, size)
        digest.update(pixels.tobytes())
        name = f'{number:06d}.png'
        cv2.imwrite(str(root / split / name), pixels[:, :, ::-1])
        images.append(dict(id=number, file_name=name, width=size, height=size))
        for item in found:
            item.update(id=len(annotations) + 1, image_id=number)
            annotations.append(item)
    categories = [
        dict(id=i + 1, name=name, supercategory=name.split()[1])
        for i, name in enumerate(CLASSES)
    ]
    text = json.dumps(
        dict(images=images, annotations=annotations, categories=categories),
        sort_keys=True,
    )
    digest.update(text.encode())
    (root / f'{split}.json').write_text(text)


def path_inside(root: Path, name: str) -> Path:
    """Path of a file that an annotation file names.

    Raises:
        ValueError: If it is not below the root: a set that somebody else made
            must not put other pictures of this machine into a report.
    """
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(f'{name!r} is not inside of {root}')
    return path


def read_digest(root: Path, splits: Dict[str, int]) -> str:
    """Digest of a set on disk, from its pixels and annotations."""
    digest = hashlib.sha256()
    for split in splits:
        text = (root / f'{split}.json').read_text()
        for image in json.loads(text)['images']:
            name = path_inside(root / split, image['file_name'])
            pixels = cv2.imread(str(name))
            digest.update(
                b'' if pixels is None else pixels[:, :, ::-1].tobytes()
            )
        digest.update(text.encode())
    return digest.hexdigest()


def make_digits(
    root: Union[str, Path],
    splits: Optional[Dict[str, int]] = None,
    size: int = IMAGE_SIZE,
    expected: Optional[str] = None,
) -> str:
    """Make the digits set, or check the one that is there.

    An interrupted run leaves only a folder ``<root>.partial``, which the next
    run replaces.

    Args:
        root (str or Path): Folder of the set.
        splits (dict, optional): Images per split, 2,000 of ``train`` and
            1,000 of ``val`` by default; there is ``more``, too.
        size (int): Side of the images in pixels.
        expected (str, optional): SHA-256 that the set must have. Known for
            the default set.

    Returns:
        str: SHA-256 over pixels and annotations.

    Raises:
        ValueError: If the set is not the expected one, or the folder holds
            something else. Nothing is deleted.
    """
    root = Path(root)
    if splits is None and size == IMAGE_SIZE:
        expected = expected or DIGEST
    splits = splits or SPLITS
    if root.is_dir():
        try:
            found = read_digest(root, splits)
        except (OSError, LookupError, ValueError) as error:
            raise ValueError(
                f'the folder {root} is not the digits set '
                f'({type(error).__name__}: {error}). Move it away to have the '
                'set made there.'
            ) from error
    else:
        partial = root.with_name(root.name + '.partial')
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        digest = hashlib.sha256()
        for split, count in splits.items():
            make_split(partial, split, count, size, digest)
        found = digest.hexdigest()
        if not expected or found == expected:
            os.replace(partial, root)
    if expected and found != expected:
        raise ValueError(
            f'the digits set at {root} has the digest {found}, not '
            f'{expected}: its files were changed, or another version of the '
            'libraries draws other pixels. Move the folder away to have it '
            'made anew.'
        )
    return found
