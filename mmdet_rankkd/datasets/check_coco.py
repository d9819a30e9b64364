"""What is wrong with an annotation file in the form of COCO."""

import json
import math
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple, Union

#: What each list of the file must be there for, with keys of its entries.
LISTS: Dict[str, Tuple[str, ...]] = {
    'images': ('id', 'file_name', 'width', 'height'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}


def coco_problems(
    file: Union[str, Path],
    classes: Sequence[str],
    folder: Union[str, Path, None] = None,
) -> List[str]:
    """Find what a detector cannot be trained on, or not as it was meant.

    MMDetection leaves out boxes of unknown categories or without an area
    without a word, and says of other faults what Python says of them.

    Args:
        file (str or Path): The annotation file.
        classes (Sequence[str]): Names of the classes of the data set.
        folder (str or Path, optional): Folder of the images, if their files
            are to be looked for.

    Returns:
        list[str]: A sentence without its stop for each kind of fault, with
        their number and the first; empty if there is none.
    """
    try:
        content = json.loads(Path(file).read_bytes())
    except OSError as error:
        return [f'it cannot be opened: {error.strerror}']
    except ValueError as error:
        return [f'it is no JSON, or is cut off: {error}']
    problems = _lists(content)
    if problems:
        return problems
    images: list = content['images']
    annotations: list = content['annotations']
    names = {x['id']: x['name'] for x in content['categories']}
    if not images:
        problems.append('it has no image')
    if not annotations:
        problems.append('it has no annotation')
    problems += _classes(names, classes)
    known = {x['id'] for x in images}
    kinds: List[Tuple[str, List[Any]]] = [
        (
            'images whose width, height or file_name is of another kind',
            [x['id'] for x in images if not _is_image(x)],
        ),
        (
            'annotations of images that it does not have',
            [x['id'] for x in annotations if x['image_id'] not in known],
        ),
        (
            'annotations of categories that it does not have',
            [x['id'] for x in annotations if x['category_id'] not in names],
        ),
        (
            'annotations whose bbox is not four finite numbers',
            [x['id'] for x in annotations if not _is_box(x['bbox'])],
        ),
        (
            'annotations whose box has no size, or a negative one',
            [
                x['id']
                for x in annotations
                if _is_box(x['bbox']) and min(x['bbox'][2:]) < 1
            ],
        ),
        (
            'annotations whose area is no number',
            [x['id'] for x in annotations if not _is_number(x['area'])],
        ),
        ('boxes outside of their image', _outside(images, annotations)),
    ]
    if folder is not None:
        root = Path(folder)
        lacking = [
            x['file_name']
            for x in images
            if not (root / str(x['file_name'])).is_file()
        ]
        kinds.append((f'images that are not in {folder}', lacking))
    problems += [
        f'{len(found)} {kind} (the first: {found[0]!r})'
        for kind, found in kinds
        if found
    ]
    return problems


def _lists(content: Any) -> List[str]:
    """Lists or keys that are lacking."""
    if not isinstance(content, dict):
        return [f'it holds a {type(content).__name__}, not a dict']
    lacking = [x for x in LISTS if not isinstance(content.get(x), list)]
    if lacking:
        return [f'it has no list of {", ".join(lacking)}']
    problems = []
    for name, keys in LISTS.items():
        for number, entry in enumerate(content[name]):
            if not isinstance(entry, dict):
                problems.append(f'entry {number} of its {name} is no dict')
                break
            absent = [k for k in keys if k not in entry]
            if absent:
                problems.append(
                    f'entry {number} of its {name} has no {", ".join(absent)}'
                )
                break
    return problems


def _classes(names: Dict[Any, str], classes: Sequence[str]) -> List[str]:
    if isinstance(classes, str):
        return [f'classes must be a list of names, got {classes!r}']
    unknown = [x for x in classes if x not in names.values()]
    if not unknown:
        return []
    return [
        f'{len(unknown)} of the {len(classes)} classes of the config are not '
        f'among its categories: {_few(unknown)}; its own are '
        f'{_few(list(names.values()))}. Set metainfo=dict(classes=...)'
    ]


def _few(names: Sequence[str], count: int = 5) -> str:
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(map(repr, names[:count])) + more


def _is_image(entry: Any) -> bool:
    return isinstance(entry['file_name'], str) and all(
        _is_number(entry[key]) for key in ('width', 'height')
    )


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(_is_number(x) and math.isfinite(x) for x in value)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _outside(images: list, annotations: list) -> List[Any]:
    sizes = {
        x['id']: (x['width'], x['height']) for x in images if _is_image(x)
    }
    found = []
    for annotation in annotations:
        size = sizes.get(annotation['image_id'])
        if size is None or not _is_box(annotation['bbox']):
            continue
        x, y, w, h = annotation['bbox']
        if x >= size[0] or y >= size[1] or x + w <= 0 or y + h <= 0:
            found.append(annotation['id'])
    return found
