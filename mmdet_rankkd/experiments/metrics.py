"""The figures that tables show, and the two tasks that they belong to."""

from dataclasses import dataclass
from typing import Dict, Optional


@dataclass(frozen=True)
class Metric:
    """A logged figure as tables show it.

    Attributes:
        title (str): Its name in tables and pictures.
        key (str): Its name among the validation metrics of a training.
        scale (float): What it is multiplied with: 100 for a percentage.
        decimals (int, optional): Those of the table by default.
        missing (float, optional): Value where it was not logged. MMDetection
            logs no AP for a detector that found nothing at all.
    """

    title: str
    key: str
    scale: float = 1.0
    decimals: Optional[int] = None
    missing: Optional[float] = None

    def read(self, metrics: Dict[str, float]) -> Optional[float]:
        """Its value among logged metrics, scaled, or None if not logged."""
        value = metrics.get(self.key, self.missing)
        return None if value is None else self.scale * value


@dataclass(frozen=True)
class Task:
    """What trainings of one kind share.

    Attributes:
        wrapper (str): Type of the model that distils.
        metric (str): Name, in ``METRICS``, of the figure that decides.
    """

    wrapper: str
    metric: str


METRICS = {
    'top1': Metric('top-1', 'accuracy/top1'),
    'top5': Metric('top-5', 'accuracy/top5'),
    'AP': Metric('AP', 'coco/bbox_mAP', 100.0, missing=0.0),
    'AP50': Metric('AP50', 'coco/bbox_mAP_50', 100.0, missing=0.0),
    'AP75': Metric('AP75', 'coco/bbox_mAP_75', 100.0, missing=0.0),
    'tau': Metric('tau', 'kendall_tau', decimals=3),
}
TASKS = {
    'classification': Task('mmdet_rankkd.DistillClassifier', 'top1'),
    'detection': Task('mmdet_rankkd.DistillDetector', 'AP'),
}


def find_metric(name: str) -> Metric:
    """A metric by its name in ``METRICS`` or by the key it is logged under.

    Raises:
        ValueError: If it is neither; keys contain a slash.
    """
    if name in METRICS:
        return METRICS[name]
    if isinstance(name, str) and '/' in name:
        return Metric(name, name)
    raise ValueError(
        f'there is no metric {name!r}; there are {", ".join(METRICS)}, and '
        'whatever a validation logs, such as coco/bbox_mAP_s'
    )
