"""The teacher on a sample of the validation set."""

import copy
import json
from pathlib import Path
from typing import Any, Dict, List, Sequence

from mmengine.config import Config

from mmdet_rankkd.engine.check_teacher import check_teacher
from mmdet_rankkd.engine.launch import innermost_config

from .finding import NOTE, OK, PROBLEM, Finding

NAME = 'teacher on sample'
LOW_AP = 0.05


def teacher_on_sample(cfg: Config, images: int, folder: Path) -> Finding:
    """Test the teacher on a part of the validation set.

    Args:
        cfg (Config): Config of the distillation.
        images (int): How many, taken from all of the set.
        folder (Path): Folder for a part of the annotation file.
    """
    cfg = copy.deepcopy(cfg)
    try:
        count = take_sample(cfg, images, folder)
        facts = check_teacher(cfg)
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        return Finding(NAME, PROBLEM, f'it cannot be tested: {error}', '', {})
    metrics = {k: v for k, v in facts.items() if '/' in k}
    if 'shared classes' in facts:
        return Finding(
            NAME,
            NOTE,
            f'not tested: {facts["AP"]}',
            '',
            dict(shared=facts['shared classes']),
        )
    return judge(metrics, count, class_total(cfg))


def judge(metrics: Dict[str, Any], images: int, classes: int) -> Finding:
    """Whether a teacher has something to teach.

    Args:
        metrics (dict): Metrics of the evaluator.
        images (int): That were tested.
        classes (int): That there are; 0 if that is not known.
    """
    facts = dict(images=images, **metrics)
    ap, top = metrics.get('coco/bbox_mAP'), metrics.get('accuracy/top1')
    if ap is not None:
        said, value, low = f'AP {100 * ap:.1f}', ap, LOW_AP
    elif top is not None:
        # Twice what guessing gives.
        low = 200 / max(classes, 4)
        said, value = f'top-1 {top:.1f} %', top
    else:
        text = ', '.join(f'{k} {v}' for k, v in metrics.items()) or 'no metric'
        return Finding(NAME, NOTE, f'{text}, on {images} images', '', facts)
    said += f' on {images} images'
    if value < low:
        return Finding(
            NAME,
            PROBLEM,
            f'{said}: it has nothing to teach',
            'wrong checkpoint, order of the classes, or preprocessing '
            '(mean, std, colour order) in its config; `rankkd check` tests '
            'all of the set',
            facts,
        )
    return Finding(NAME, OK, said, '', facts)


def take_sample(cfg: Config, images: int, folder: Path) -> int:
    """Make a part of the validation set the test set of a config.

    COCO's metric counts all images of its annotation file, so that one with a
    part of them is written.

    Args:
        cfg (Config): Config of the training; it is changed.
        images (int): How many, at most.
        folder (Path): Folder for the annotation file.

    Returns:
        int: How many there are.

    Raises:
        ValueError: If the config has no set to test on.
    """
    for split in ('val', 'test'):
        if cfg.get(f'{split}_dataloader') and cfg.get(f'{split}_evaluator'):
            break
    else:
        raise ValueError('the config has neither val nor test data')
    loader = copy.deepcopy(cfg[f'{split}_dataloader'])
    evaluator = copy.deepcopy(cfg[f'{split}_evaluator'])
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    dataset = innermost_config(loader.dataset)
    each = evaluator if isinstance(evaluator, list) else [evaluator]
    named = [x for x in each if x.get('ann_file')]
    count = images
    if named:
        file = folder / 'sample.json'
        count = write_part(Path(named[0].ann_file), file, images)
        dataset.ann_file = str(file)
        for metric in named:
            metric.ann_file = str(file)
    else:
        dataset.indices = images
    cfg.test_dataloader, cfg.test_evaluator = loader, evaluator
    cfg.setdefault('test_cfg', dict(type='TestLoop'))
    return count


def write_part(source: Path, target: Path, images: int) -> int:
    """Write a part of a COCO annotation file, images from all of it."""
    content = json.loads(source.read_text())
    every: List[Any] = content['images']
    kept = every[:: max(1, len(every) // images)][:images]
    numbers = {x['id'] for x in kept}
    content['images'] = kept
    content['annotations'] = [
        x for x in content['annotations'] if x['image_id'] in numbers
    ]
    target.write_text(json.dumps(content))
    return len(kept)


def class_total(cfg: Config) -> int:
    """How many classes the head of a classifier tells apart, if it says."""
    student = cfg.model.get('student') or {}
    return int((student.get('head') or {}).get('num_classes') or 0)


def teacher_facts(lines: Sequence[str]) -> Finding:
    """What the distiller says of its teacher.

    Args:
        lines (list[str]): Lines of :meth:`Teacher.describe`.
    """
    said = '; '.join(x.removeprefix('teacher: ') for x in lines)
    if 'NOT compared' in said or 'not compared' in said:
        return Finding(
            'teacher',
            NOTE,
            said,
            'name its classes, so that their order is compared: '
            'teacher=dict(..., classes=[...])',
            {},
        )
    return Finding('teacher', OK, said, '', {})
