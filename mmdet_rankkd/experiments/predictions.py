"""What the detector of a work dir finds in its test set."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from tqdm import tqdm

from mmdet_rankkd.checkpoint.write import new_file
from mmdet_rankkd.engine.launch import build_runner, guard_checkpoints
from mmdet_rankkd.evaluation.tide import Found, Truth

#: An entry of a JSON file of COCO results.
Entry = Dict[str, Any]


@dataclass(frozen=True)
class EvalSet:
    """The images that detectors are compared on.

    Attributes:
        ids (list): Of the images.
        files (list): Their paths.
        truths (list): Their objects.
        classes (list): Names.
        categories (list): The ids of the classes in files of predictions.
    """

    ids: List[Any]
    files: List[str]
    truths: List[Truth]
    classes: List[str]
    categories: List[int]


def find_config(folder: Path) -> Path:
    """The config that MMEngine left in a work dir.

    Raises:
        FileNotFoundError: If the folder or a config in it is not there.
        ValueError: If there are several.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no work dir {folder}')
    files = sorted(folder.glob('*.py'))
    if not files:
        raise FileNotFoundError(
            f'no config in {folder}: a training or test leaves its *.py there'
        )
    if len(files) > 1:
        names = ', '.join(f.name for f in files)
        raise ValueError(
            f'several configs in {folder}: {names}. Leave there the one of '
            'the checkpoint'
        )
    return files[0]


def find_checkpoint(folder: Path) -> Path:
    """The checkpoint of a work dir: that of ``last_checkpoint``, or the only.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be said which of several is meant.
    """
    note = folder / 'last_checkpoint'
    if note.is_file():
        # By its name: the folder may have been moved.
        noted = folder / Path(note.read_text().strip()).name
        if noted.is_file():
            return noted
    files = sorted(folder.glob('*.pth'))
    if not files:
        raise FileNotFoundError(f'no checkpoint (*.pth) in {folder}')
    if len(files) > 1:
        names = ', '.join(f.name for f in files)
        raise ValueError(
            f'no last_checkpoint in {folder} that says which of these is '
            f'meant: {names}. Leave one there'
        )
    return files[0]


def read_eval_set(config: Config) -> EvalSet:
    """The test set of a config.

    Raises:
        ValueError: If it has no images, or is no set of detection.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    dataset = DATASETS.build(config.test_dataloader.dataset)
    classes = dataset.metainfo.get('classes')
    if not classes or not len(dataset):
        raise ValueError('the test set has no classes or no images')
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    if 'img_path' not in infos[0] or 'instances' not in infos[0]:
        raise ValueError('the test set has no images with objects in boxes')
    truths = [read_truth(info['instances']) for info in infos]
    if all(t.crowd.all() for t in truths):
        raise ValueError('the test set has no objects to compare with')
    categories = getattr(dataset, 'cat_ids', None)
    return EvalSet(
        [info.get('img_id', n) for n, info in enumerate(infos)],
        [info['img_path'] for info in infos],
        truths,
        list(classes),
        list(categories or range(len(classes))),
    )


def read_truth(instances: Sequence[Entry]) -> Truth:
    """Objects of an image, as MMDetection's data sets hold them."""
    return Truth(
        np.array([x['bbox'] for x in instances], float).reshape(-1, 4),
        np.array([x['bbox_label'] for x in instances], int),
        np.array([bool(x.get('ignore_flag', 0)) for x in instances], bool),
    )


def cache_of(config: Config, checkpoint: Path) -> Path:
    """File of the predictions, named by what they were made with.

    Another checkpoint, model or test set has another name, so that no
    predictions are taken for those of another, and none are overwritten.
    """
    digest = hashlib.sha256(checkpoint.read_bytes())
    for part in (config.model, config.test_dataloader):
        digest.update(repr(part).encode())
    name = f'predictions_{checkpoint.stem}_{digest.hexdigest()[:12]}.json'
    return checkpoint.with_name(name)


def predict(
    config: Config, checkpoint: Path, test_set: EvalSet, trust: bool = False
) -> Path:
    """Run a detector over its test set, unless that was done before.

    Args:
        config (Config): Of the work dir.
        checkpoint (Path): Its weights. The predictions are kept beside it, as
            JSON of COCO results.
        test_set (EvalSet): Of the config.
        trust (bool): Execute pickled code in the checkpoint.

    Returns:
        Path: The file of the predictions.
    """
    path = cache_of(config, checkpoint)
    if path.is_file():
        return path
    config = config.copy()
    config.load_from = str(checkpoint)
    config.resume = False
    guard_checkpoints(config, trust)
    with tempfile.TemporaryDirectory() as logs:
        config.work_dir = logs
        entries = run_over(build_runner(config), test_set)
    with new_file(path) as file:
        file.write(json.dumps(entries).encode())
    return path


@torch.no_grad()
def run_over(runner: Runner, test_set: EvalSet) -> List[Entry]:
    """Detections of the test set, as COCO results."""
    loader = runner.build_dataloader(runner.cfg.test_dataloader)
    runner.load_or_resume()
    model = runner.model.eval()
    entries: List[Entry] = []
    for data in tqdm(loader, desc='test set', unit='batch'):
        for sample in model.test_step(data):
            found = sample.pred_instances
            for box, label, score in zip(
                found.bboxes.tolist(),
                found.labels.tolist(),
                found.scores.tolist(),
            ):
                x1, y1, x2, y2 = box
                entries.append(
                    dict(
                        image_id=sample.img_id,
                        category_id=test_set.categories[label],
                        bbox=[x1, y1, x2 - x1, y2 - y1],
                        score=score,
                    )
                )
    return entries


def read_predictions(path: Path, test_set: EvalSet) -> List[Found]:
    """Detections of each image of a test set.

    Args:
        path (Path): JSON of COCO results: a list of entries with
            ``image_id``, ``category_id``, ``bbox`` (x, y, width, height) and
            ``score``, as of CocoMetric with ``outfile_prefix``.
        test_set (EvalSet): What the ids are of.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a file, or of other images or classes.
    """
    entries = json.loads(path.read_text())
    groups: Dict[Any, List[Entry]] = {i: [] for i in test_set.ids}
    labels = {c: n for n, c in enumerate(test_set.categories)}
    try:
        for entry in entries:
            groups[entry['image_id']].append(entry)
        return [to_found(groups[i], labels) for i in test_set.ids]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path} does not hold COCO results of this test set: '
            f'{type(error).__name__}: {error}'
        ) from error


def to_found(entries: Sequence[Entry], labels: Dict[int, int]) -> Found:
    """At most 100 detections of an image, the surest first."""
    chosen = sorted(entries, key=lambda x: -x['score'])[:100]
    boxes = np.array([x['bbox'] for x in chosen], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Found(
        boxes,
        np.array([labels[x['category_id']] for x in chosen], int),
        np.array([x['score'] for x in chosen], float),
    )


def difference_of(one: EvalSet, other: EvalSet) -> Optional[str]:
    """What differs between two test sets, or None."""
    if one.classes != other.classes:
        return 'classes'
    if one.ids != other.ids:
        return 'images'
    for a, b in zip(one.truths, other.truths):
        if not (
            np.array_equal(a.boxes, b.boxes)
            and np.array_equal(a.labels, b.labels)
        ):
            return 'boxes'
    return None
