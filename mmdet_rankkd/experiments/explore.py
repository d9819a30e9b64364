"""A report on work dirs that can be explored: one HTML file, no network."""

import base64
import contextlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Dict, List, Optional, Sequence, Tuple
from urllib.parse import quote

import cv2
import numpy as np
from mmengine.config import Config
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_rankkd.checkpoint.write import new_file, refuse_to_overwrite
from mmdet_rankkd.evaluation.tide import (
    KINDS,
    Found,
    Judged,
    Truth,
    count_errors,
    judge,
)

from .curves import Curve, read_scalars, thin, train_curve, val_curve
from .differences import paired_difference
from .predictions import (
    EvalSet,
    difference_of,
    find_checkpoint,
    find_config,
    predict,
    read_eval_set,
    read_predictions,
)

#: The page, with a place for the data.
PAGE = Path(__file__).with_name('explore.html')
#: Thresholds of the slider.
THRESHOLDS = [round(0.05 * i, 2) for i in range(1, 20)]
#: The longer side of the images in the page, in pixels.
SIDE = 360


@dataclass(frozen=True)
class Run:
    """A work dir and what its detector finds.

    Attributes:
        method (str): Runs of one method are its seeds.
        seed (int): Of the training.
        folder (Path): The work dir.
        config (Path): In it.
        checkpoint (Path, optional): In it; None where predictions were given.
        found (list): Detections of each image.
        judged (list): What they are.
        aps (np.ndarray): AP in percent over IoU .5 to .95, of the classes,
            shape (C,); NaN of a class without objects.
        ap50 (float): AP in percent at IoU .5.
        curves (dict): Of its training, by name.
    """

    method: str
    seed: int
    folder: Path
    config: Path
    checkpoint: Optional[Path]
    found: List[Found]
    judged: List[Judged]
    aps: np.ndarray
    ap50: float
    curves: Dict[str, Curve]

    @property
    def ap(self) -> float:
        """Mean AP in percent over the classes that have objects."""
        return float(np.nanmean(self.aps))


def split_name(argument: str) -> Tuple[str, Path]:
    """Method and folder of ``NAME=WORK_DIR`` or ``WORK_DIR``.

    Without a name it is that of the folder; of ``METHOD/seed0`` its parent's.
    """
    name, equals, folder = argument.rpartition('=')
    path = Path(folder)
    if not equals:
        full = path.resolve()
        is_seed = full.name.startswith('seed') and full.name[4:].isdigit()
        name = full.parent.name if is_seed else full.name
    return name, path


def evaluate(test_set: EvalSet, found: Sequence[Found]) -> np.ndarray:
    """AP of pycocotools in percent, by IoU threshold and class.

    Args:
        test_set (EvalSet): Images and their objects.
        found (Sequence[Found]): Detections of each image.

    Returns:
        np.ndarray: Shape (10, C), thresholds .5 to .95; NaN of classes
        without objects.
    """
    truth: List[Dict[str, Any]] = []
    results: List[Dict[str, Any]] = []
    for number, (objects, detections) in enumerate(
        zip(test_set.truths, found), 1
    ):
        for box, label, crowd in zip(
            objects.boxes, objects.labels, objects.crowd
        ):
            entry = coco_entry(number, box, label)
            truth.append(
                dict(
                    entry,
                    id=len(truth) + 1,
                    area=entry['bbox'][2] * entry['bbox'][3],
                    iscrowd=int(crowd),
                )
            )
        results += [
            dict(coco_entry(number, box, label), score=float(score))
            for box, label, score in zip(
                detections.boxes, detections.labels, detections.scores
            )
        ]
    count = len(test_set.classes)
    if not results:
        present = {x['category_id'] for x in truth if not x['iscrowd']}
        zeros = [0.0 if c in present else np.nan for c in range(count)]
        return np.tile(zeros, (10, 1))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dict(
            images=[dict(id=i + 1) for i in range(len(found))],
            annotations=truth,
            categories=[dict(id=c) for c in range(count)],
        )
        coco.createIndex()
        scored = COCO()
        scored.dataset = dict(
            coco.dataset,
            annotations=[
                dict(x, id=n, area=x['bbox'][2] * x['bbox'][3], iscrowd=0)
                for n, x in enumerate(results, 1)
            ],
        )
        scored.createIndex()
        evaluation = COCOeval(coco, scored, 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
    # Thresholds, recalls, classes, areas ("all"), detections (100).
    precision = evaluation.eval['precision'][:, :, :, 0, -1]
    precision = np.where(precision < 0, np.nan, precision)
    return 100 * precision.mean(1)


def coco_entry(image: int, box: np.ndarray, label: int) -> Dict[str, Any]:
    """A box as COCO has it."""
    x1, y1, x2, y2 = box.tolist()
    return dict(
        image_id=image,
        category_id=int(label),
        bbox=[x1, y1, x2 - x1, y2 - y1],
    )


def curves_of(folder: Path) -> Dict[str, Curve]:
    """Curves of losses, of tau and of the AP of a training."""
    entries = read_scalars(folder)
    names = sorted({name for entry in entries for name in entry})
    found = {}
    for name in names:
        if name.startswith('loss') or name == 'kendall_tau':
            found[f'{name}, training'] = thin(train_curve(entries, name))
        if name.endswith('mAP') or name == 'kendall_tau':
            found[f'{name}, validation'] = val_curve(entries, name)
    return {name: curve for name, curve in found.items() if curve}


def read_run(
    argument: str,
    predictions: Optional[Path],
    test_set: EvalSet,
    trust: bool,
) -> Run:
    """Read a work dir, and run its detector where no predictions are given.

    Raises:
        FileNotFoundError, ValueError: If something of it is not there or is
            not clear, or its test set is another than ``test_set``.
    """
    method, folder = split_name(argument)
    file = find_config(folder)
    config = Config.fromfile(file)
    differs = difference_of(test_set, read_eval_set(config))
    if differs:
        raise ValueError(
            f'the test set of {file} has other {differs} than that of the '
            'first work dir; only detectors of the same test set can be '
            'compared'
        )
    checkpoint = None
    if predictions is None:
        checkpoint = find_checkpoint(folder)
        predictions = predict(config, checkpoint, test_set, trust)
    found = read_predictions(predictions, test_set)
    precision = evaluate(test_set, found)
    seed = (config.get('randomness') or {}).get('seed')
    return Run(
        method,
        0 if seed is None else seed,
        folder,
        file,
        checkpoint,
        found,
        [judge(f, t) for f, t in zip(found, test_set.truths)],
        precision.mean(0),
        float(np.nanmean(precision[0])),
        curves_of(folder),
    )


def write_report(
    work_dirs: Sequence[str],
    out: Path,
    predictions: Sequence[Path] = (),
    images: int = 40,
    force: bool = False,
    trust: bool = False,
) -> Path:
    """Compare the detectors of work dirs in one HTML file.

    Args:
        work_dirs (Sequence[str]): ``WORK_DIR`` or ``NAME=WORK_DIR``, that
            which others are compared with first. Those of one name are seeds.
        out (Path): The file.
        predictions (Sequence[Path]): Of each work dir, in place of running
            its checkpoint.
        images (int): That are shown, those that the methods differ most on.
        force (bool): Overwrite the file.
        trust (bool): Execute pickled code in checkpoints.

    Raises:
        FileExistsError: If the file is there.
        FileNotFoundError, ValueError: See :func:`read_run`.
    """
    refuse_to_overwrite(out, force)
    if predictions and len(predictions) != len(work_dirs):
        raise ValueError(
            f'{len(predictions)} files of predictions for {len(work_dirs)} '
            'work dirs; give one for each, in their order'
        )
    first = split_name(work_dirs[0])[1]
    test_set = read_eval_set(Config.fromfile(find_config(first)))
    given: List[Optional[Path]] = list(predictions) or [None] * len(work_dirs)
    methods: Dict[str, Dict[int, Run]] = {}
    for argument, file in zip(work_dirs, given):
        run = read_run(argument, file, test_set, trust)
        seeds = methods.setdefault(run.method, {})
        if run.seed in seeds:
            raise ValueError(
                f'{run.folder} and {seeds[run.seed].folder} are both '
                f'{run.method!r} with seed {run.seed}; name methods by '
                'NAME=WORK_DIR'
            )
        seeds[run.seed] = run
    content = describe(methods, test_set, images, out.parent)
    page = PAGE.read_text().replace('{{data}}', to_json(content))
    with new_file(out, force) as opened:
        opened.write(page.encode())
    return out


def to_json(content: Any) -> str:
    """JSON that may stand inside a ``script`` element."""
    text = json.dumps(content, allow_nan=False)
    for sign in '<>&':
        text = text.replace(sign, f'\\u{ord(sign):04x}')
    return text


def describe(
    methods: Dict[str, Dict[int, Run]],
    test_set: EvalSet,
    images: int,
    folder: Path,
) -> Dict[str, Any]:
    """What the page shows."""
    shown = [next(iter(seeds.values())) for seeds in methods.values()]
    by_class = np.array(
        [
            np.mean([run.aps for run in seeds.values()], axis=0)
            for seeds in methods.values()
        ]
    )
    whole = [t.labels[~t.crowd] for t in test_set.truths]
    counts = np.bincount(
        np.concatenate(whole), minlength=len(test_set.classes)
    )
    return dict(
        images=len(test_set.ids),
        objects=int(counts.sum()),
        methods=list(methods),
        classes=[
            dict(
                name=name,
                count=int(count),
                ap=[None if np.isnan(x) else float(x) for x in aps],
            )
            for name, count, aps in zip(test_set.classes, counts, by_class.T)
        ],
        names=test_set.classes,
        summary=[summary_of(seeds, methods) for seeds in methods.values()],
        runs=[
            run_facts(run, folder)
            for seeds in methods.values()
            for run in seeds.values()
        ],
        thresholds=THRESHOLDS,
        kinds=list(KINDS),
        errors=[
            [
                list(
                    count_errors(
                        run.found, test_set.truths, run.judged, threshold
                    ).values()
                )
                for threshold in THRESHOLDS
            ]
            for run in shown
        ],
        pictures=[
            picture_of(number, test_set, shown)
            for number in most_different(shown, test_set.truths)[:images]
        ],
    )


def summary_of(
    seeds: Dict[int, Run], methods: Dict[str, Dict[int, Run]]
) -> Dict[str, Any]:
    """AP of a method over its seeds, and what it gains over the first."""
    first = next(iter(methods.values()))
    gain = None
    if seeds is not first:
        gain = paired_difference(
            {s: r.ap for s, r in seeds.items()},
            {s: r.ap for s, r in first.items()},
        )
    return dict(
        seeds=len(seeds),
        ap=mean(r.ap for r in seeds.values()),
        ap50=mean(r.ap50 for r in seeds.values()),
        gain=gain and gain.mean,
        interval=gain and gain.interval,
        word=gain.word if gain else '',
    )


def run_facts(run: Run, folder: Path) -> Dict[str, Any]:
    """A line of the table of runs, with its curves."""

    def link(path: Optional[Path]) -> Optional[str]:
        return quote(os.path.relpath(path, folder)) if path else None

    return dict(
        method=run.method,
        seed=run.seed,
        ap=run.ap,
        ap50=run.ap50,
        config=link(run.config),
        checkpoint=link(run.checkpoint),
        curves=run.curves,
    )


def most_different(runs: Sequence[Run], truths: Sequence[Truth]) -> List[int]:
    """Images, those first on which the methods differ most.

    The difference is the sum over objects of the largest less the smallest
    score with which a method found it, 0 where it did not. A single method
    has its images with the most missed objects first.
    """
    values = []
    for number, truth in enumerate(truths):
        scores = np.zeros((len(runs), len(truth.labels)))
        for line, run in zip(scores, runs):
            result = run.judged[number]
            for score, kind, place in zip(
                run.found[number].scores, result.kinds, result.truths
            ):
                if kind == 'right':
                    line[place] = score
        scores = scores[:, ~truth.crowd]
        if len(runs) == 1:
            scores = np.vstack([scores, np.ones_like(scores)])
        values.append(float((scores.max(0) - scores.min(0)).sum()))
    return sorted(range(len(values)), key=lambda i: -values[i])


def picture_of(
    number: int, test_set: EvalSet, runs: Sequence[Run]
) -> Dict[str, Any]:
    """An image with its objects and detections, boxes in pixels of it.

    Raises:
        ValueError: If the file is no image.
    """
    image = cv2.imread(test_set.files[number])
    if image is None:
        raise ValueError(f'cannot read the image {test_set.files[number]}')
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = cv2.resize(
        image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    _, data = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, 82])
    truth = test_set.truths[number]
    return dict(
        name=os.path.basename(test_set.files[number]),
        width=width,
        height=height,
        data=base64.b64encode(data.tobytes()).decode(),
        truth=[
            [*rounded(box), int(label)]
            for box, label in zip(truth.boxes, truth.labels)
        ],
        crowd=truth.crowd.tolist(),
        found=[
            [
                [*rounded(box), int(label), round(float(score), 3), kind, at]
                for box, label, score, kind, at in zip(
                    run.found[number].boxes,
                    run.found[number].labels,
                    run.found[number].scores,
                    run.judged[number].kinds,
                    run.judged[number].truths,
                )
                if score >= THRESHOLDS[0]
            ]
            for run in runs
        ],
    )


def rounded(box: np.ndarray) -> List[float]:
    """A box to a tenth of a pixel."""
    return [round(float(x), 1) for x in box]
