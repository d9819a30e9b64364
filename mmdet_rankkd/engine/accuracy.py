"""Top-k accuracy, and the best value of a metric so far."""

from typing import Any, Dict, List, Optional, Sequence

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from mmdet_rankkd.registry import HOOKS, METRICS


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


@HOOKS.register_module()
class BestHook(Hook):
    """Log the best validation so far beside the last one.

    Papers report one or the other. At the best epoch by ``key``, all metrics
    are noted, and logged as ``best/<name>``; they are resumed with the
    checkpoint.

    Args:
        key (str): Metric that decides; more is better.
        names (Sequence[str], optional): Metrics to note, ``key`` by default.
    """

    def __init__(
        self, key: str = 'accuracy/top1', names: Optional[Sequence[str]] = None
    ) -> None:
        self.key = key
        self.names = tuple(names or (key,))

    def after_val_epoch(
        self, runner: Any, metrics: Optional[Dict[str, float]] = None
    ) -> None:
        """Compare, note and log."""
        if not metrics or self.key not in metrics:
            return
        hub = runner.message_hub
        best = hub.runtime_info.get('best_metrics')
        if best is None or metrics[self.key] > best[self.key]:
            kept = {*self.names, self.key}
            best = {n: float(metrics[n]) for n in kept if n in metrics}
            hub.update_info('best_metrics', best)
        for name in self.names:
            if name in best:
                hub.update_scalar(f'val/best/{name}', best[name])
