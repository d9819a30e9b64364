"""Curves and metrics of logs, and the files that results are written to."""

import json

import pytest
from mmengine.config import Config

from mmdet_rankkd.experiments import result as R
from mmdet_rankkd.experiments.curves import (
    read_scalars,
    thin,
    train_curve,
    val_curve,
)

from .conftest import make_result


def write_log(folder, name, lines):
    path = folder / name / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(lines))


def test_curves(tmp_path):
    write_log(
        tmp_path,
        '20260101_000000',
        [
            '{"lr": 0.1, "loss": 3.0, "step": 25}',
            '{"lr": 0.1, "loss": 2.0, "step": 50, "kendall_tau": 0.3}',
            '{"coco/bbox_mAP": 0.2, "kendall_tau": 0.5, "step": 1}',
            '{"lr": 0.1, "lo',
        ],
    )
    entries = read_scalars(tmp_path)
    assert len(entries) == 3
    assert train_curve(entries, 'loss') == [(25, 3.0), (50, 2.0)]
    assert train_curve(entries, 'kendall_tau') == [(50, 0.3)]
    assert val_curve(entries, 'coco/bbox_mAP') == [(50, 0.2)]
    assert val_curve(entries, 'kendall_tau') == [(50, 0.5)]
    assert read_scalars(tmp_path / 'none') == []


def test_metrics_of_a_training_that_went_on(tmp_path):
    """Stopped after its first epoch and a bit: the rest is the later log's."""
    write_log(
        tmp_path,
        '20260101_000000',
        [
            '{"lr": 0.1, "loss": 3.0, "epoch": 1, "iter": 5, "step": 5}',
            '{"accuracy/top1": 60.0, "best/accuracy/top1": 60.0, '
            '"data_time": 0.1, "time": 1.0, "step": 1}',
            '{"lr": 0.1, "loss": 2.0, "epoch": 2, "iter": 10, "step": 10}',
            '{"lr": 0.1, "loss": 9.0, "epoch": 2, "iter": 15, "step": 15}',
        ],
    )
    write_log(
        tmp_path,
        '20260101_000100',
        [
            '{"lr": 0.1, "loss": 1.5, "epoch": 2, "iter": 10, "step": 10}',
            '{"accuracy/top1": 59.0, "kendall_tau": 0.5, "step": 2}',
        ],
    )
    last, best, curves = R.training_metrics(tmp_path, 'accuracy/top1')
    assert last == {'accuracy/top1': 59.0, 'kendall_tau': 0.5}
    assert best == {'accuracy/top1': 60.0}
    assert curves == {
        'train/loss': [(5, 3.0), (10, 1.5)],
        'val/accuracy/top1': [(5, 60.0), (10, 59.0)],
        'val/kendall_tau': [(10, 0.5)],
    }


def test_a_detector_that_finds_nothing(tmp_path):
    write_log(
        tmp_path,
        'a',
        ['{"lr": 1, "step": 5}', '{"kendall_tau": 0, "step": 1}'],
    )
    last, best, _ = R.training_metrics(tmp_path, 'coco/bbox_mAP')
    assert last == best == {'kendall_tau': 0.0}
    with pytest.raises(ValueError, match='logged no validation'):
        R.training_metrics(tmp_path / 'none', 'coco/bbox_mAP')


def test_thin():
    curve = [(float(i), 0.0) for i in range(1001)]
    found = thin(curve)
    assert 190 < len(found) < 210
    assert found[-1] == (1000, 0) and thin(curve[:7]) == curve[:7]


def test_files(tmp_path):
    folder = tmp_path / 'kd_a_b/seed3'
    folder.mkdir(parents=True)
    written = make_result('kd_a_b', 3, {'accuracy/top1': 70.0})
    written.write(folder)
    assert R.read_results(tmp_path) == {'kd_a_b': {3: written}}
    assert [p.name for p in folder.iterdir()] == ['result.json']
    # Results of other versions are not read as if they were this one's.
    content = json.loads((folder / 'result.json').read_text())
    content.pop('config_hash')
    (folder / 'result.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match='seed3/result.json is not a result'):
        R.read_results(tmp_path)


def test_hash_is_of_what_the_config_says():
    first = Config(dict(a=dict(b=(1, 2)), c='x'))
    second = Config(dict(c='x', a=dict(b=[1, 2])))
    assert R.config_hash(first) == R.config_hash(second)
    second.a.b = [1, 3]
    assert R.config_hash(first) != R.config_hash(second)


def test_where_it_came_from():
    assert {'torch', 'mmengine', 'mmcv', 'mmdet', 'mmdet_rankkd'} <= set(
        R.versions()
    )
    commit = R.commit()
    assert commit is None or len(commit.removesuffix('-dirty')) == 40
    assert R.device()
