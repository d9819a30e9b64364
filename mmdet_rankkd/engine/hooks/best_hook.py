"""The best value of a metric so far."""

from typing import Dict, Optional, Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet_rankkd.registry import HOOKS


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
        self, runner: Runner, metrics: Optional[Dict[str, float]] = None
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
