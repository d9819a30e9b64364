"""The classification demo on a few images."""

import json

import numpy as np
import pytest
import torch

from mmdet_rankkd.analysis.demo_cls import (
    alignment,
    ranks,
    result_rows,
    run_demo_cls,
    verdict,
    with_deviation,
)

OPTIONS = [
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.count=64',
    'val_dataloader.dataset.count=40',
    'default_hooks.logger.interval=1',
    'log_level=WARNING',
]


def test_ranks():
    logits = torch.tensor([[0.1, 3.0, 2.0]])
    assert ranks(logits).tolist() == [[2, 0, 1]]


def test_alignment():
    torch.manual_seed(0)
    teacher = torch.randn(50, 6)
    np.testing.assert_array_equal(alignment(3 * teacher, teacher), np.eye(6))
    np.testing.assert_array_equal(
        alignment(-teacher, teacher), np.eye(6)[::-1]
    )
    table = alignment(torch.randn(50, 6), teacher)
    np.testing.assert_allclose(table.sum(0), 1)
    np.testing.assert_allclose(table.sum(1), 1)


def test_table_and_verdict():
    def run(seed, top1):
        return dict(
            seed=seed,
            top1=top1,
            top5=99.0,
            best=top1 + 1,
            minutes=0.5,
            tau=0.5,
            parameters=0.08,
        )

    found = {
        'teacher': [dict(top1=99.5, parameters=0.7)],
        'KD': [run(0, 80.0), run(1, 82.0)],
        'KD + ranking': [run(0, 81.0), run(1, 82.5)],
    }
    rows = result_rows(found)
    assert rows[1][:2] == ['teacher', '99.5']
    assert rows[2][:4] == ['KD', '81.0 ± 1.4', '82.0 ± 1.4', '99.0 ± 0.0']
    text = verdict(found)
    assert 'KD + ranking against KD: 0.8 ± 0.4' in text
    assert '(+1.0, +0.5, by seed)' in text and 'alone' not in text
    assert with_deviation([1.25], 2) == '1.25'


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp('demo_cls') / 'out'
    rows = ['student alone', 'KD + ranking']
    return run_demo_cls(rows, (0,), str(out), OPTIONS, 1)


def test_whole_demo(report):
    text = report.read_text()
    assert 'KD + ranking' in text and text.count('data:image/png') == 2
    result = json.loads(
        next(report.parent.glob('kd-rank*/seed0/result.json')).read_text()
    )
    assert 0 <= result['last']['accuracy/top1'] <= 100


def test_again_it_starts_anew(report):
    file = next(report.parent.glob('alone*/seed0/result.json'))
    before = file.stat().st_mtime_ns
    run_demo_cls(['student alone'], (0,), str(report.parent), OPTIONS, 1)
    assert file.stat().st_mtime_ns > before
