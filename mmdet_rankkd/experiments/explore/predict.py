"""What a run detects on its test set, kept beside its checkpoint."""

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.checkpoint.student import student_config
from mmdet_rankkd.checkpoint.write import write_whole
from mmdet_rankkd.datasets.digits import path_inside
from mmdet_rankkd.engine.hooks.data_check_hook import innermost
from mmdet_rankkd.experiments.models import load_model

from .precision import Content
from .runs import Run

#: Folder of the predictions, in the work dir.
FOLDER = 'predictions'


@dataclass(frozen=True)
class TestSet:
    """Images of a test set.

    Attributes:
        dataset (Dataset): Dataset of MMDetection.
        indices (list): Indices of its images that are looked at.
        total (int): Its images.
        classes (list): Their names.
        truth (dict): Annotations of the images, in the form of COCO. Images
            have the index as their id, and categories the label.
    """

    dataset: Dataset
    indices: List[int]
    total: int
    classes: List[str]
    truth: Content


def open_test_set(config: Config, limit: int = 0) -> TestSet:
    """Build the test set of a config.

    Args:
        config (Config): Config with a ``test_dataloader``.
        limit (int): Images at most, taken from all of it; 0 for all.

    Raises:
        ValueError: If the config has no test set, or it has no images,
            classes or boxes, or names an image outside of its folders.
    """
    loader = config.get('test_dataloader')
    if not loader:
        raise ValueError('the config has no test_dataloader')
    init_default_scope(config.get('default_scope') or 'mmdet')
    dataset: Any = DATASETS.build(copy.deepcopy(loader['dataset']))
    total = len(dataset)
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not total or not classes:
        raise ValueError('the test set has no images, or no names of classes')
    count = min(limit or total, total)
    indices = [i * total // count for i in range(count)]
    infos = [dataset.get_data_info(i) for i in indices]
    check_places(dataset, [str(info['img_path']) for info in infos])
    images, annotations = [], []
    for index, info in zip(indices, infos):
        if 'instances' not in info:
            raise ValueError(
                'the test set has no annotated boxes; name one that has in '
                'test_dataloader, such as that of val_dataloader'
            )
        images.append(
            dict(
                id=index,
                file_name=str(info['img_path']),
                width=int(info['width']),
                height=int(info['height']),
            )
        )
        annotations += [(index, x) for x in info['instances']]
    truth = dict(
        images=images,
        categories=[dict(id=i, name=str(x)) for i, x in enumerate(classes)],
        annotations=[
            annotation_of(number, index, instance)
            for number, (index, instance) in enumerate(annotations, 1)
        ],
    )
    return TestSet(dataset, indices, total, [str(x) for x in classes], truth)


def check_places(dataset: Any, files: Sequence[str]) -> None:
    """Raise ValueError if an image is not in the folders of its data set.

    A page has pictures in it: a set that somebody else made must not put
    others of this machine there, by ``../``, an absolute path or a link.

    Args:
        dataset (Dataset): Dataset of MMDetection.
        files (Sequence[str]): Its images.
    """
    roots = {
        str(folder)
        for part in innermost(dataset)
        for folder in (
            getattr(part, 'data_root', None),
            *(getattr(part, 'data_prefix', None) or {}).values(),
        )
        if folder
    }
    for file in files:
        if not any(is_inside(root, file) for root in roots):
            raise ValueError(
                f'the test set names {file!r}, which is not inside of '
                f'{", ".join(sorted(roots)) or "any folder of the set"}, so '
                'that its picture is not put into a page. Copy it there, or '
                'name its folder: '
                'test_dataloader.dataset.data_prefix=dict(img=...)'
            )


def is_inside(root: str, file: str) -> bool:
    """Whether a file is below a folder, links followed."""
    try:
        path_inside(Path(root), str(Path(file).absolute()))
    except ValueError:
        return False
    return True


def annotation_of(
    number: int, index: int, instance: Dict[str, Any]
) -> Content:
    """An instance of MMDetection's data sets in the form of COCO."""
    x1, y1, x2, y2 = (float(x) for x in instance['bbox'])
    return dict(
        id=number,
        image_id=index,
        category_id=int(instance['bbox_label']),
        bbox=[x1, y1, x2 - x1, y2 - y1],
        area=(x2 - x1) * (y2 - y1),
        iscrowd=int(instance.get('ignore_flag', 0)),
    )


def predictions_of(run: Run, test_set: TestSet) -> List[Content]:
    """Detections of a run, in the form of COCO; from its work dir if kept.

    They are kept in ``predictions/`` under a name of their own for each
    checkpoint, config and choice of images, beside a note of these.

    Args:
        run (Run): The training.
        test_set (TestSet): That its config names.

    Raises:
        ValueError: If weights and config do not fit, or what the model gives
            are no boxes.
    """
    content = json.dumps(test_set.truth, sort_keys=True).encode()
    note = dict(
        checkpoint=str(run.checkpoint),
        checkpoint_sha256=file_digest(run.checkpoint),
        config=str(run.config),
        config_sha256=file_digest(run.config),
        images=len(test_set.indices),
        test_set_sha256=hashlib.sha256(content).hexdigest(),
    )
    digests = ''.join(str(v) for k, v in note.items() if 'sha256' in k)
    name = hashlib.sha256(digests.encode()).hexdigest()[:12]
    file = run.folder / FOLDER / f'{name}.json'
    if file.is_file():
        return json.loads(file.read_text())
    found = predict(run, test_set)
    text = json.dumps(note, indent=1)
    write_whole(file.with_suffix('.note.json'), text.encode())
    write_whole(file, json.dumps(found).encode())
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open('rb') as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


@torch.no_grad()
def predict(run: Run, test_set: TestSet) -> List[Content]:
    """Run the plain detector of a run over images, with a progress bar."""
    config = load_config(str(run.config))
    model = load_model(config, str(run.checkpoint)).to(get_device())
    loader = student_config(config).test_dataloader
    batches = DataLoader(
        Subset(test_set.dataset, test_set.indices),
        batch_size=loader.get('batch_size', 1),
        num_workers=loader.get('num_workers', 0),
        collate_fn=pseudo_collate,
    )
    found: List[Content] = []
    indices = iter(test_set.indices)
    title = f'{run.method}, seed {run.seed}'
    for batch in tqdm(batches, desc=title, unit='batch'):
        for sample in model.test_step(batch):
            boxes = getattr(sample, 'pred_instances', None)
            if boxes is None or 'bboxes' not in boxes:
                raise ValueError(
                    f'{type(model).__name__} of {run.config} gives no boxes'
                )
            found += detections_of(next(indices), boxes)
    return found


def detections_of(index: int, instances: Any) -> List[Content]:
    """Detections of an image in the form of COCO."""
    rows = zip(
        instances.bboxes.cpu().tolist(),
        instances.labels.tolist(),
        instances.scores.tolist(),
    )
    return [
        dict(
            image_id=index,
            category_id=label,
            bbox=[x1, y1, x2 - x1, y2 - y1],
            score=score,
        )
        for (x1, y1, x2, y2), label, score in rows
    ]


def by_image(
    entries: Sequence[Content], indices: Sequence[int]
) -> Dict[int, List[Content]]:
    """Annotations or detections of each image."""
    result: Dict[int, List[Content]] = {index: [] for index in indices}
    for entry in entries:
        result[entry['image_id']].append(entry)
    return result
