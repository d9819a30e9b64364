"""Average precision of each class, by COCO's own evaluation."""

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

#: An annotation file in the form of COCO, and a list of detections.
Content = Dict[str, Any]


@dataclass(frozen=True)
class Precision:
    """Average precision of a detector, in per cent.

    Attributes:
        overall (dict): ``AP``, ``AP50`` and ``AP75``; the means over the
            classes that have objects.
        classes (list): AP of each class; None of one without objects.
    """

    overall: Dict[str, float]
    classes: List[Optional[float]]


def average_precision(truth: Content, found: List[Content]) -> Precision:
    """Evaluate detections as COCO does, with 100 an image and class.

    Args:
        truth (dict): Annotations in the form of COCO.
        found (list): Detections in the form of COCO.

    Raises:
        ValueError: If no object is annotated.
    """
    if not any(not x['iscrowd'] for x in truth['annotations']):
        raise ValueError('no object is annotated: there is no precision')
    with contextlib.redirect_stdout(io.StringIO()):
        # COCO's evaluation writes to what it is given.
        coco = COCO()
        coco.dataset = dict(truth)
        coco.dataset['annotations'] = [dict(x) for x in truth['annotations']]
        coco.createIndex()
        results = COCO()
        results.dataset = dict(truth, annotations=_numbered(found))
        results.createIndex()
        evaluation = COCOeval(coco, results, 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
    # IoU, recall, class, area (all), detections an image (100)
    table = evaluation.eval['precision'][:, :, :, 0, -1]
    return Precision(
        dict(
            AP=_mean(table),
            AP50=_mean(table[0]),
            AP75=_mean(table[5]),
        ),
        [
            _mean(table[:, :, k]) if (table[:, :, k] > -1).any() else None
            for k in range(table.shape[2])
        ],
    )


def _mean(table: np.ndarray) -> float:
    """Mean in per cent over what is there; COCO writes -1 where not."""
    return float(100 * table[table > -1].mean())


def _numbered(found: Sequence[Content]) -> List[Content]:
    """What COCO's loader adds to detections, which takes no empty list."""
    return [
        dict(x, id=i, area=x['bbox'][2] * x['bbox'][3], iscrowd=0)
        for i, x in enumerate(found, 1)
    ]
