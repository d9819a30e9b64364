"""One HTML file on what the detectors of work dirs find."""

import base64
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Dict, List, Optional, Sequence
from urllib.parse import quote

import cv2
import mmcv

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.checkpoint.write import new_file, refuse_to_overwrite
from mmdet_rankkd.experiments.curves import Curve, all_curves, read_scalars
from mmdet_rankkd.experiments.differences import paired_difference

from .errors import (
    KINDS,
    MEANT,
    Detections,
    Objects,
    Seen,
    count_above,
    judge,
    reached,
)
from .precision import Content, Precision, average_precision
from .predict import TestSet, by_image, open_test_set, predictions_of
from .runs import Run, find_runs
from .template import write

METRICS = ('AP', 'AP50', 'AP75')


@dataclass(frozen=True)
class Settings:
    """What is shown.

    Attributes:
        images (int): Pictures in the file, those with most differences
            between the methods first.
        limit (int): Images of the test set that are looked at, taken from all
            of it; 0 for all.
        best (bool): Take ``best_*.pth`` in place of the last checkpoint.
        score (float): Boxes of lower scores are not shown at first.
        least_score (float): Boxes of lower scores are not in the pictures.
        side (int): Pictures have no longer side, in pixels.
    """

    images: int = 40
    limit: int = 0
    best: bool = False
    score: float = 0.3
    least_score: float = 0.05
    side: int = 640


@dataclass(frozen=True)
class Tested:
    """A run and how it did.

    Attributes:
        run (Run): The training.
        found (list): Detections, in the form of COCO.
        precision (Precision): Precision of its detections.
    """

    run: Run
    found: List[Content]
    precision: Precision


def explore(
    places: Sequence[str],
    out: Path,
    settings: Settings,
    force: bool = False,
) -> Path:
    """Test the detectors of work dirs and write a page on them.

    Args:
        places (Sequence[str]): See :func:`find_runs`. The first method is
            that which others are compared with.
        out (Path): File to write.
        settings (Settings): What is shown.
        force (bool): Overwrite the file.

    Raises:
        FileExistsError: If the file exists and ``force`` is not set.
        FileNotFoundError: If a work dir has no config or checkpoint.
        ValueError: If the test sets of the work dirs are not the same, or the
            detectors cannot be tested.
    """
    refuse_to_overwrite(out, force)
    return explore_runs(find_runs(places, settings.best), out, settings, force)


def explore_runs(
    runs: Sequence[Run], out: Path, settings: Settings, force: bool = False
) -> Path:
    """Test the detectors of trainings and write a page on them.

    Args:
        runs (Sequence[Run]): The trainings; the first method is that which
            others are compared with.
        out (Path): File to write.
        settings (Settings): What is shown.
        force (bool): Overwrite the file.

    Raises:
        FileExistsError: If the file exists and ``force`` is not set.
        ValueError: If the test sets are not the same, or the detectors cannot
            be tested.
    """
    methods: Dict[str, List[Tested]] = {}
    shared: Optional[TestSet] = None
    for run in runs:
        try:
            config = load_config(str(run.config))
            test_set = open_test_set(config, settings.limit)
            shared = shared or test_set
            if test_set.truth != shared.truth:
                raise ValueError(
                    f'its test set is not that of {runs[0].folder}: images, '
                    'classes or boxes differ'
                )
            found = predictions_of(run, shared)
        except (KeyError, ValueError) as error:
            raise ValueError(f'{run.folder}: {error}') from error
        precision = average_precision(shared.truth, found)
        methods.setdefault(run.method, []).append(
            Tested(run, found, precision)
        )
    assert shared is not None
    write_page(out, shared, methods, settings, force)
    return out


def write_page(
    out: Path,
    test_set: TestSet,
    methods: Dict[str, List[Tested]],
    settings: Settings,
    force: bool = False,
) -> None:
    """Write the page.

    Args:
        out (Path): File to write.
        test_set (TestSet): That all were tested on.
        methods (dict): Runs of each method.
        settings (Settings): What is shown.
        force (bool): Overwrite the file.
    """
    seen = {
        name: look(test_set, tested[0].found)
        for name, tested in methods.items()
    }
    pictured = most_different(list(seen.values()), settings)
    images = test_set.truth['images']
    pictures = [
        dict(
            file=Path(images[index]['file_name']).name,
            size=[images[index]['width'], images[index]['height']],
            **boxes_of([x[index] for x in seen.values()], settings),
        )
        for index in pictured
    ]
    data = dict(
        images=len(test_set.indices),
        total=test_set.total,
        score=settings.score,
        leastScore=settings.least_score,
        classes=test_set.classes,
        objects=objects_of_classes(test_set),
        methods=[
            dict(
                name=name,
                runs=[facts_of(x, out) for x in tested],
                counts=count_above(seen[name]),
            )
            for name, tested in methods.items()
        ],
        overall=[
            dict(
                name=metric,
                **compare(
                    {
                        name: {
                            x.run.seed: x.precision.overall[metric]
                            for x in tested
                        }
                        for name, tested in methods.items()
                    }
                ),
            )
            for metric in METRICS
        ],
        perClass=[
            compare(
                {
                    name: {
                        x.run.seed: value
                        for x in tested
                        if (value := x.precision.classes[label]) is not None
                    }
                    for name, tested in methods.items()
                }
            )
            for label in range(len(test_set.classes))
        ],
        curves=curves_of(methods),
        pictures=pictures,
    )
    encoded = (
        encode_picture(images[i]['file_name'], settings.side) for i in pictured
    )
    with new_file(out, force) as file:
        write(file, data, encoded)


def look(test_set: TestSet, found: List[Content]) -> List[Seen]:
    """What detections are, image by image."""
    indices = test_set.indices
    truth = by_image(test_set.truth['annotations'], indices)
    detections = by_image(found, indices)
    result: List[Seen] = []
    for index in indices:
        objects = Objects(
            [x['bbox'] for x in truth[index]],
            [x['category_id'] for x in truth[index]],
            [bool(x['iscrowd']) for x in truth[index]],
        )
        seen = Detections(
            [x['bbox'] for x in detections[index]],
            [x['category_id'] for x in detections[index]],
            [x['score'] for x in detections[index]],
        )
        result.append((objects, seen, judge(objects, seen)))
    return result


def most_different(
    methods: Sequence[Sequence[Seen]], settings: Settings
) -> List[int]:
    """The images that are shown, in their order.

    First those with most objects that one method finds and another does not;
    of equal ones, those with most wrong detections.

    Args:
        methods (Sequence): What each saw in each image.
        settings (Settings): How many, and above which score.
    """
    ranked = []
    for index, images in enumerate(zip(*methods)):
        right = [
            [x >= settings.score for x in reached(*image)['right']]
            for image in images
        ]
        differences = sum(len(set(each)) > 1 for each in zip(*right))
        wrong = sum(
            score >= settings.score and kind not in ('right', 'ignored')
            for _, found, judged in images
            for kind, score in zip(judged.kinds, found.scores)
        )
        ranked.append((-differences, -wrong, index))
    return [index for *_, index in sorted(ranked)[: settings.images]]


def boxes_of(methods: Sequence[Seen], settings: Settings) -> Dict[str, Any]:
    """Objects and detections of an image for the page.

    Returns:
        dict: ``objects``, as ``[x, y, width, height, label, ignored]``;
        ``found``, for each method a list of ``[x, y, width, height, label,
        score, kind, object]``; ``reached``, for each method the score until
        which each object is found, meant with the wrong class, and meant in
        the wrong place.
    """
    objects = methods[0][0]
    return dict(
        objects=[
            [*rounded(box), label, int(ignored)]
            for box, label, ignored in zip(
                objects.boxes, objects.labels, objects.ignored
            )
        ],
        found=[
            [
                [*rounded(box), label, cut(score), kind_number(kind), target]
                for box, label, score, kind, target in zip(
                    found.boxes,
                    found.labels,
                    found.scores,
                    judged.kinds,
                    judged.targets,
                )
                if score >= settings.least_score
            ]
            for _, found, judged in methods
        ],
        reached=[
            [[cut(x) for x in highest[kind]] for kind in ('right', *MEANT)]
            for highest in (reached(*image) for image in methods)
        ],
    )


def rounded(box: Sequence[float]) -> List[float]:
    """A box to a tenth of a pixel."""
    return [round(x, 1) for x in box]


def cut(score: float) -> float:
    """A score to four decimals, never up to one that it does not reach."""
    return math.floor(score * 10000 + 1e-6) / 10000


def kind_number(kind: str) -> int:
    """Its place in ``KINDS``; -1 for what is ignored."""
    return KINDS.index(kind) if kind in KINDS else -1


def encode_picture(file: str, side: int) -> str:
    """An image as a JPEG in base64, made smaller if need be."""
    image = mmcv.imread(file)
    if image is None:
        raise ValueError(f'{file} cannot be read as an image')
    scale = side / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(
            image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
        )
    _, content = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return base64.b64encode(content.tobytes()).decode()


def objects_of_classes(test_set: TestSet) -> List[int]:
    """Objects of each class, without ignored regions."""
    counts = Counter(
        x['category_id']
        for x in test_set.truth['annotations']
        if not x['iscrowd']
    )
    return [counts[label] for label in range(len(test_set.classes))]


def facts_of(tested: Tested, out: Path) -> Dict[str, Any]:
    """A run, with links from the page to its files."""
    run = tested.run
    return dict(
        seed=run.seed,
        ap=tested.precision.overall['AP'],
        **{
            key: dict(name=file.name, link=link(file, out))
            for key, file in (
                ('config', run.config),
                ('checkpoint', run.checkpoint),
            )
        },
    )


def link(file: Path, out: Path) -> str:
    """A relative address of a file on a page."""
    path = os.path.relpath(file, out.resolve().parent)
    return quote(Path(path).as_posix())


def compare(values: Dict[str, Dict[int, float]]) -> Dict[str, Any]:
    """A figure of each method, and its gain over the first.

    Args:
        values (dict): Values by method and seed.

    Returns:
        dict: ``values`` and ``gains``, each a list of ``[mean, low, high]``
        (95 % interval over the seeds; None of one), or None where there is
        none. Gains are paired by seed, or the difference of the means where
        no seed is shared.
    """
    first = next(iter(values.values()))
    return dict(
        values=[
            difference(each, dict.fromkeys(each, 0.0))
            for each in values.values()
        ],
        gains=[difference(each, first) for each in values.values()],
    )


def difference(
    values: Dict[int, float], others: Dict[int, float]
) -> Optional[List[Optional[float]]]:
    """Mean difference over seeds and its interval, for the page."""
    if not values or not others:
        return None
    found = paired_difference(values, others)
    if found is None:
        return [mean(values.values()) - mean(others.values()), None, None]
    low, high = found.interval or (None, None)
    return [found.mean, low, high]


def curves_of(methods: Dict[str, List[Tested]]) -> Dict[str, List[Any]]:
    """What the trainings logged: by name, ``[method, seed, points]`` each."""
    found: Dict[str, List[Any]] = {}
    for number, tested in enumerate(methods.values()):
        for run in (x.run for x in tested):
            for name, curve in all_curves(read_scalars(run.folder)).items():
                found.setdefault(name, []).append(
                    [number, run.seed, finite(curve)]
                )
    return dict(sorted(found.items(), reverse=True))


def finite(curve: Curve) -> Curve:
    """The points of a curve that can be drawn."""
    return [(x, y) for x, y in curve if math.isfinite(y)]
