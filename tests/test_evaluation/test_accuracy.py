"""Top-k accuracy."""

import pytest
import torch

from mmdet_rankkd.evaluation import TopKAccuracy


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
