"""Detection and classification lists of a copy of Tiny-ImageNet-200.

Photographs of 64 x 64 pixels in 200 classes, 500 a class for training and 50
for validation, each with one box drawn by a person
(http://cs231n.stanford.edu/tiny-imagenet-200.zip). Of the published boxes
0.4 % are a single pixel wide or high.
"""

import json
from pathlib import Path
from typing import Dict, List, Tuple, Union

from mmdet_rankkd.checkpoint.write import write_whole

IMAGE_SIZE = 64
#: Path of an image in the set, its class (a WordNet id), and its box: the
#: first and the last pixel, x before y.
Photograph = Tuple[str, str, Tuple[int, int, int, int]]


def annotate_tiny_imagenet(
    root: Union[str, Path], classes: int = 20, per_class: int = 500
) -> Dict[str, int]:
    """Write lists of some classes with boxes and of the others without.

    The classes with boxes are spread evenly over the sorted WordNet ids, so
    that near and far ones are among them. The lists name the images where
    they are; none is copied. In ``root/annotations``, for 20 classes:

    - ``boxes_20_train.json``, ``boxes_20_val.json``: COCO's layout.
    - ``other_180_train.txt``, ``other_180_val.txt``: path and number of the
      class in a line, as :class:`mmdet_rankkd.datasets.ImageNet` reads them,
      to train backbones on photographs that no detector is trained or tested
      on.

    Args:
        root (str or Path): The set's folder, ``tiny-imagenet-200``.
        classes (int): Classes with boxes; all 200 leave none for others.
        per_class (int): At most so many training images of each with boxes.

    Returns:
        dict: Images by the name of the list.

    Raises:
        ValueError: If the folder is not that set, lacks an image, or has no
            such number of classes.
        FileExistsError: If a list is there with another content.
    """
    root = Path(root)
    if per_class < 1:
        raise ValueError(f'per_class is at least 1, got {per_class}')
    try:
        ids = sorted((root / 'wnids.txt').read_text().split())
        words = dict(
            line.split('\t', 1)
            for line in (root / 'words.txt').read_text().splitlines()
        )
        titles = {wnid: words[wnid].split(',')[0] for wnid in ids}
        found = {'train': _training(root, ids), 'val': _validation(root)}
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(
            f'{root} is not the folder tiny-imagenet-200 as it was published '
            f'({type(error).__name__}: {error})'
        ) from error
    if not 1 <= classes <= len(ids):
        raise ValueError(
            f'classes is a number from 1 to {len(ids)}, got {classes}'
        )
    _check_images(root, [*found['train'], *found['val']])
    chosen = [ids[i * len(ids) // classes] for i in range(classes)]
    others = [x for x in ids if x not in chosen]
    names = [titles[x] for x in chosen]
    texts, counts = {}, {}
    for split, photographs in found.items():
        wanted = [x for x in photographs if x[1] in chosen]
        if split == 'train':
            wanted = _first_of_each(wanted, per_class)
        file = f'boxes_{classes}_{split}.json'
        texts[file] = json.dumps(_coco(wanted, chosen, names))
        counts[file] = len(wanted)
        if others:
            numbers = {x: i for i, x in enumerate(others)}
            lines = [
                f'{path} {numbers[wnid]}\n'
                for path, wnid, _ in photographs
                if wnid in numbers
            ]
            file = f'other_{len(others)}_{split}.txt'
            texts[file] = ''.join(lines)
            counts[file] = len(lines)
    folder = root / 'annotations'
    for file, text in texts.items():
        path = folder / file
        if path.is_file() and path.read_text() != text:
            raise FileExistsError(
                f'{path} is there with another content; move it away to have '
                'it written'
            )
    for file, text in texts.items():
        write_whole(folder / file, text.encode())
    return counts


def _check_images(root: Path, photographs: List[Photograph]) -> None:
    lacking = [x for x, *_ in photographs if not (root / x).is_file()]
    if lacking:
        raise ValueError(
            f'{root} lacks {len(lacking):,} of {len(photographs):,} images, '
            f'such as {lacking[0]}: it was not unpacked whole'
        )


def _training(root: Path, ids: List[str]) -> List[Photograph]:
    found = []
    for wnid in ids:
        folder = f'train/{wnid}'
        text = (root / folder / f'{wnid}_boxes.txt').read_text()
        for line in text.splitlines():
            file, *box = line.split()
            path = f'{folder}/images/{file}'
            found.append((path, wnid, _box(box)))
    return found


def _validation(root: Path) -> List[Photograph]:
    found = []
    text = (root / 'val/val_annotations.txt').read_text()
    for line in text.splitlines():
        file, wnid, *box = line.split()
        found.append((f'val/images/{file}', wnid, _box(box)))
    return found


def _box(words: List[str]) -> Tuple[int, int, int, int]:
    left, top, right, bottom = (int(x) for x in words)
    return left, top, right, bottom


def _first_of_each(
    photographs: List[Photograph], count: int
) -> List[Photograph]:
    taken: Dict[str, int] = {}
    result = []
    for item in photographs:
        taken[item[1]] = taken.get(item[1], 0) + 1
        if taken[item[1]] <= count:
            result.append(item)
    return result


def _coco(
    photographs: List[Photograph], chosen: List[str], names: List[str]
) -> dict:
    images, annotations = [], []
    for number, (path, wnid, box) in enumerate(photographs, 1):
        left, top, right, bottom = box
        width, height = right - left + 1, bottom - top + 1
        images.append(
            dict(
                id=number,
                file_name=path,
                width=IMAGE_SIZE,
                height=IMAGE_SIZE,
            )
        )
        annotations.append(
            dict(
                id=number,
                image_id=number,
                category_id=chosen.index(wnid) + 1,
                bbox=[left, top, width, height],
                area=width * height,
                iscrowd=0,
            )
        )
    categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    return dict(images=images, annotations=annotations, categories=categories)
