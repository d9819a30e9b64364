"""Annotations by a detector for images that have none."""

import json
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps

from mmdet_rankkd.checkpoint.load import first_few
from mmdet_rankkd.checkpoint.write import new_file, refuse_to_overwrite
from mmdet_rankkd.datasets.check_coco import coco_problems
from mmdet_rankkd.datasets.unlabelled import find_images
from mmdet_rankkd.evaluation.f1 import F1, HIT, IGNORED, best_f1, match_boxes

from .detect_images import Detector, Line, Progress, detect_images


def pseudo_label(
    config: str,
    checkpoint: str,
    images: str,
    out: str,
    threshold: Optional[float] = None,
    labelled: Optional[Tuple[str, str]] = None,
    batch_size: int = 1,
    workers: int = 0,
    force: bool = False,
    trust: bool = False,
) -> Dict[str, object]:
    """Write what a detector sees in a folder of images as COCO annotations.

    Each annotation has a ``score``. Until the file is there, what is done is
    kept in ``<out>.progress``: started again after a kill, the work goes on,
    and the file is the same.

    Args:
        config (str): The detector's config, a file or ``package::path``; its
            test pipeline loads the images.
        checkpoint (str): File or address of its weights.
        images (str): Folder of the images; those in folders below count too.
        out (str): File to write.
        threshold (float, optional): Keep the boxes of this score and above.
        labelled (tuple[str, str], optional): Annotation file in COCO's form
            and folder of its images. The threshold is then the one of the
            highest F1 on them, over all classes together, at an overlap of
            0.5. The result has the categories of this file, and boxes of
            other classes of the detector are left out.
        batch_size (int): Images at a time.
        workers (int): Processes that load images.
        force (bool): Overwrite ``out``, and what was begun otherwise.
        trust (bool): Execute pickled code in the checkpoint.

    Returns:
        dict: The threshold, its precision and recall on the labelled set, and
        the numbers of images, boxes and files that could not be read.

    Raises:
        FileExistsError: If ``out`` is there and ``force`` is not set.
        FileNotFoundError: If a file or folder is not there.
        ValueError: If not exactly one of ``threshold`` and ``labelled`` is
            given, no image can be read, the detector's classes are not known
            or are not those of the labelled set, it finds no object of that,
            or ``<out>.progress`` is of other settings.
    """
    if (threshold is None) == (labelled is None):
        raise ValueError(
            'give either a threshold of the score, or a labelled set to '
            'choose it on'
        )
    if threshold is not None and not 0 <= threshold < 1:
        raise ValueError(f'the threshold must be in [0, 1), got {threshold}')
    refuse_to_overwrite(out, force)
    names = find_images(images)
    truth = None if labelled is None else Truth(*labelled)
    detector = Detector(config, checkpoint, trust)
    categories = [
        dict(id=i + 1, name=n) for i, n in enumerate(detector.classes)
    ]
    if truth is not None:
        categories = truth.categories
    ids = category_ids(detector.classes, categories)
    files = [
        *(truth.files if truth else []),
        *(Path(images, x) for x in names),
    ]
    begin = len(files) - len(names)
    progress = Progress(
        Path(f'{out}.progress'), detector.digest(), files, batch_size, force
    )
    detect_images(detector, files, progress, batch_size, workers)
    facts: Dict[str, Any] = {}
    if truth is not None:
        choice = truth.threshold(progress.lines(0, begin), ids)
        threshold = choice.threshold
        facts = dict(
            F1=round(choice.f1, 4),
            precision=round(choice.precision, 4),
            recall=round(choice.recall, 4),
        )
    facts['threshold'] = threshold
    content, unreadable = annotate(
        zip(names, progress.lines(begin, len(files))), ids, facts['threshold']
    )
    content['categories'] = categories
    content['info'] = dict(
        description=f'pseudo-labels by {config}, {checkpoint}', **facts
    )
    with new_file(out, force) as file:
        file.write(json.dumps(content, sort_keys=True).encode())
    progress.path.unlink()
    boxed = {x['image_id'] for x in content['annotations']}
    left_out = [n for n, i in zip(detector.classes, ids) if i is None]
    return {
        **facts,
        'images': len(content['images']),
        'without a box': len(content['images']) - len(boxed),
        'boxes': len(content['annotations']),
        'unreadable': first_few(unreadable) if unreadable else 'none',
        'classes left out': first_few(left_out) if left_out else 'none',
    }


def category_ids(
    classes: Sequence[str], categories: Sequence[Dict[str, Any]]
) -> List[Optional[int]]:
    """Category of each class of a detector; None for one that has none.

    Raises:
        ValueError: If none has one.
    """
    known = {x['name']: x['id'] for x in categories}
    ids = [known.get(name) for name in classes]
    if not any(i is not None for i in ids):
        raise ValueError(
            "none of the detector's classes is a category of the labelled "
            f'set. The detector has {first_few(list(classes))}; the set has '
            f'{first_few(list(known))}'
        )
    return ids


def annotate(
    found: Iterable[Tuple[str, Line]],
    ids: Sequence[Optional[int]],
    threshold: float,
) -> Tuple[Dict[str, Any], List[str]]:
    """Images and annotations in COCO's form, of what was detected.

    Args:
        found (Iterable): File names, and what was detected in each.
        ids (Sequence[int or None]): Category of each class.
        threshold (float): Lowest score that is kept.

    Returns:
        tuple[dict, list[str]]: Them, and the files that cannot be read.

    Raises:
        ValueError: If none can be read.
    """
    images: List[Dict[str, Any]] = []
    annotations: List[Dict[str, Any]] = []
    unreadable: List[str] = []
    reason = ''
    for number, (name, line) in enumerate(found, 1):
        if 'error' in line:
            reason = reason or line['error']
            unreadable.append(name)
            continue
        width, height = line['size']
        images.append(
            dict(id=number, file_name=name, width=width, height=height)
        )
        masks = line.get('masks') or [None] * len(line['boxes'])
        for (label, score, x1, y1, x2, y2), mask in zip(line['boxes'], masks):
            if score < threshold or ids[label] is None:
                continue
            w, h = round(x2 - x1, 2), round(y2 - y1, 2)
            entry = dict(
                id=len(annotations) + 1,
                image_id=number,
                category_id=ids[label],
                bbox=[x1, y1, w, h],
                area=round(w * h, 2),
                iscrowd=0,
                score=score,
            )
            if mask is not None:
                entry['segmentation'] = dict(size=[height, width], counts=mask)
            annotations.append(entry)
    if not images:
        raise ValueError(
            f'none of the {len(unreadable)} images can be read; the first, '
            f'{unreadable[0]}: {reason}'
        )
    return dict(images=images, annotations=annotations), unreadable


class Truth:
    """A labelled set that a threshold is chosen on.

    Args:
        file (str): Annotations in COCO's form.
        folder (str): Folder of the images.

    Raises:
        FileNotFoundError: If one of them is not there.
        ValueError: If the file is not in COCO's form.
    """

    def __init__(self, file: str, folder: str) -> None:
        self.name = file
        if not Path(file).is_file():
            raise FileNotFoundError(f'there is no labelled set {file}')
        try:
            content = json.loads(Path(file).read_bytes())
            self.categories: List[Dict[str, Any]] = content['categories']
            self.images = [x['id'] for x in content['images']]
            self.files = [
                Path(folder, x['file_name']) for x in content['images']
            ]
            self.objects: Dict[int, List[dict]] = {i: [] for i in self.images}
            for x in content['annotations']:
                if min(x['bbox'][2:]) >= 1:
                    self.objects[x['image_id']].append(x)
        except (LookupError, TypeError, ValueError) as error:
            problems = coco_problems(file, (), folder) or [repr(error)]
            raise ValueError(
                f'the labelled set {file}: {"; ".join(problems)}'
            ) from error
        lacking = [x for x in self.files if not x.is_file()]
        if lacking:
            raise FileNotFoundError(
                f'{len(lacking)} of the {len(self.files)} images of the '
                f'labelled set {file} are not there; the first: {lacking[0]}'
            )

    def threshold(
        self, lines: Iterable[Line], ids: Sequence[Optional[int]]
    ) -> F1:
        """The threshold of the highest F1.

        Args:
            lines (Iterable[Line]): What was detected in each image.
            ids (Sequence[int or None]): Category of each class.

        Raises:
            ValueError: If no object is found, or an image cannot be read.
        """
        scores, hits, count = [], [], 0
        for file, image, line in zip(self.files, self.images, lines):
            if 'error' in line:
                raise ValueError(
                    f'an image of the labelled set cannot be read, {file}: '
                    f'{line["error"]}'
                )
            objects = [
                x for x in self.objects[image] if x['category_id'] in ids
            ]
            boxes = [x for x in line['boxes'] if ids[x[0]] is not None]
            result = match(boxes, objects, ids)
            kept = [r != IGNORED for r in result]
            scores += [x[1] for x, k in zip(boxes, kept) if k]
            hits += [r == HIT for r, k in zip(result, kept) if k]
            count += sum(not x.get('iscrowd') for x in objects)
        try:
            return best_f1(np.array(scores), np.array(hits, bool), count)
        except ValueError as error:
            raise ValueError(
                f'no threshold can be chosen on the labelled set {self.name}: '
                f'{error}. Are its annotations those of its images, and its '
                "categories named as the detector's classes?"
            ) from error


def match(
    boxes: Sequence[List[float]],
    objects: Sequence[Dict[str, Any]],
    ids: Sequence[Optional[int]],
) -> np.ndarray:
    """Which boxes of an image are right; see :func:`match_boxes`."""
    corners = torch.tensor([x[2:] for x in boxes]).reshape(-1, 4)
    true = torch.tensor([x['bbox'] for x in objects]).reshape(-1, 4).float()
    true[:, 2:] += true[:, :2]
    classes = torch.tensor([ids[int(x[0])] for x in boxes])
    labels = torch.tensor([x['category_id'] for x in objects])
    same = classes[:, None] == labels
    crowd = torch.tensor(
        [bool(x.get('iscrowd')) for x in objects], dtype=torch.bool
    )
    overlaps = bbox_overlaps(corners, true) * same
    inside = bbox_overlaps(corners, true, mode='iof') * same
    return match_boxes(overlaps[:, ~crowd].numpy(), inside[:, crowd].numpy())
