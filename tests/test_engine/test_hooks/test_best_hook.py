"""The best value of a metric so far."""

from types import SimpleNamespace

from mmengine.logging import MessageHub

from mmdet_rankkd.engine.hooks import BestHook


def test_best_hook():
    hub = MessageHub.get_instance('test_best_hook')
    runner = SimpleNamespace(message_hub=hub)
    hook = BestHook('top1', names=('top1', 'top5'))
    seen = []
    for top1, top5 in ((10, 50), (30, 55), (20, 90)):
        hook.after_val_epoch(runner, dict(top1=top1, top5=top5))
        seen.append(
            [
                hub.get_scalar(f'val/best/{n}').current()
                for n in ('top1', 'top5')
            ]
        )
    # The top-5 accuracy is that of the best epoch by top-1.
    assert seen == [[10, 50], [30, 55], [30, 55]]
    hook.after_val_epoch(runner, dict(other=1.0))
    state = hub.state_dict()['runtime_info']
    assert state['best_metrics'] == dict(top1=30, top5=55)
