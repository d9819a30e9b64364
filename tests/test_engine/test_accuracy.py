"""Top-k accuracy and the best value so far."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from mmdet_rankkd.engine import BestHook, TopKAccuracy


def evaluate(scores, labels, **settings):
    metric = TopKAccuracy(**settings)
    samples = [
        dict(pred_score=s, gt_label=torch.tensor([y]))
        for s, y in zip(scores, labels)
    ]
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_against_topk():
    torch.manual_seed(0)
    scores = torch.randn(200, 12).softmax(1)
    labels = torch.randint(0, 12, (200,))
    found = evaluate(scores, labels.tolist(), topk=(1, 5))
    for k in (1, 5):
        hits = (scores.topk(k, 1).indices == labels[:, None]).any(1)
        assert found[f'accuracy/top{k}'] == pytest.approx(
            100 * hits.double().mean().item()
        )


def test_ties_count_against():
    assert evaluate(torch.ones(4, 6), [0, 1, 2, 5], topk=(1, 5)) == {
        'accuracy/top1': 0,
        'accuracy/top5': 0,
    }
    scores = torch.tensor([[2.0, 2, 1]])
    assert evaluate(scores, [0], topk=(1, 2)) == {
        'accuracy/top1': 0,
        'accuracy/top2': 100,
    }


def test_bad_topk():
    with pytest.raises(ValueError, match='positive'):
        TopKAccuracy(topk=(0,))


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
