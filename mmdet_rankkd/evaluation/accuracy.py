"""Top-k accuracy."""

from typing import Any, Dict, List, Sequence

from mmengine.evaluator import BaseMetric

from mmdet_rankkd.registry import METRICS


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    r"""Percentage of images whose class is among the k highest scores.

    Ties count against the image: a network that scores all classes alike is
    right about none.

    Args:
        topk (Sequence[int]): Values of k; logged as ``accuracy/top{k}``.
        **kwargs (Any): Those of ``mmengine.evaluator.BaseMetric``.

    Raises:
        ValueError: If a k is not positive.
    """

    default_prefix = 'accuracy'

    def __init__(self, topk: Sequence[int] = (1, 5), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not topk or min(topk) < 1:
            raise ValueError(f'topk must be positive numbers, got {topk}')
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note how many other classes score at least as high as the true."""
        for sample in data_samples:
            scores, label = sample['pred_score'], sample['gt_label']
            better = scores >= scores[label]
            self.results.append(int(better.sum()) - 1)

    def compute_metrics(self, results: List[int]) -> Dict[str, float]:
        """Percentages."""
        return {
            f'top{k}': 100 * sum(r < k for r in results) / len(results)
            for k in self.topk
        }
