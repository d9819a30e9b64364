import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet_rankkd.analysis import demo
from mmdet_rankkd.analysis.scalars import read_scalars, train_curve, val_curve
from mmdet_rankkd.datasets import digits

from ..helpers import ROOT


def test_scalars(tmp_path):
    folder = tmp_path / '20260101_000000/vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(
        '{"lr": 0.1, "loss": 3.0, "step": 25}\n'
        '{"lr": 0.1, "loss": 2.0, "step": 50, "kendall_tau": 0.3}\n'
        '{"coco/bbox_mAP": 0.2, "kendall_tau": 0.5, "step": 1}\n'
        '{"lr": 0.1, "lo'
    )
    entries = read_scalars(tmp_path)
    assert len(entries) == 3
    assert train_curve(entries, 'loss') == [(25, 3.0), (50, 2.0)]
    assert train_curve(entries, 'kendall_tau') == [(50, 0.3)]
    assert val_curve(entries, 'coco/bbox_mAP') == [(50, 0.2)]
    assert val_curve(entries, 'kendall_tau') == [(50, 0.5)]
    assert read_scalars(tmp_path / 'none') == []


def test_whole_demo_on_a_few_images(tmp_path, monkeypatch, capsys):
    """Every step of the demo, with two iterations per student."""
    monkeypatch.chdir(tmp_path)
    make = digits.make_digits
    make('data/digits', dict(train=16, val=6))
    monkeypatch.setattr(demo, 'make_digits', lambda root: None)
    report = demo.run_demo(
        methods=['alone', 'kd+rank'],
        options=['train_cfg.max_epochs=1'],
    )
    text = capsys.readouterr().out
    for name in (
        'teacher',
        'student alone',
        'KD + ranking',
        '31.99',
        'against student alone',
        'one seed',
    ):
        assert name in text
    page = report.read_text()
    assert page.count('<img src="data:image/png;base64,') == 2
    assert (
        'http'
        not in page.replace('https://download', '').split('<h2>Configs</h2>')[
            0
        ]
    )
    assert page.count('<details>') == 3
    # A second demo replaces the first, but no folder of somebody else.
    (tmp_path / 'work_dirs/demo/alone_seed0/output.log').unlink()
    with pytest.raises(FileExistsError, match='not of an earlier demo'):
        demo.run_demo(methods=['alone'])


def test_demo_of_a_dense_detector(tmp_path, monkeypatch, capsys):
    """Its teacher is trained first, and used again the next time."""
    monkeypatch.chdir(tmp_path)
    digits.make_digits('data/digits', dict(train=16, val=6))
    monkeypatch.setattr(demo, 'make_digits', lambda root: None)
    options = ['train_cfg.max_epochs=1']
    report = demo.run_demo(['kd'], detector='gfl', options=options)
    assert report == Path('work_dirs/demo_gfl/report.html')
    text = capsys.readouterr().out
    assert 'a head is trained' in text and '31.99' not in text
    page = report.read_text()
    assert 'ResNet-50 GFL' in page and 'teacher is surest' in page
    config = Config.fromfile('work_dirs/demo_gfl/configs/gfl_kd.py')
    assert config.model.losses[0].type == 'mmdet_rankkd.BinaryKLDivLoss'
    out = tmp_path / 'work_dirs/demo_gfl'
    again = demo.ready_teacher('gfl', out, options)
    assert again.is_file() and 'trained before' in capsys.readouterr().out


def test_a_failing_run_is_reported(tmp_path):
    run = demo.Run(
        'KD',
        tmp_path,
        tmp_path / 'work',
        [sys.executable, '-c', 'raise ValueError("the reason")'],
        0,
    )
    with pytest.raises(RuntimeError, match='the reason'):
        demo.run_all([run], 1)


def make_run(label, seed, ap):
    run = demo.Run(
        label,
        ROOT / 'configs/digits/faster-rcnn_mobilenet-v2-half_fpn_digits.py',
        ROOT,
        [],
        seed,
    )
    run.result = dict(bbox_mAP=ap, bbox_mAP_50=ap, bbox_mAP_75=ap, tau=0.5)
    return run


def test_verdict_claims_what_is_there():
    runs = [make_run('teacher', None, 0.8)] + [
        make_run(label, seed, ap)
        for label, seed, ap in (
            ('student alone', 0, 0.30),
            ('student alone', 1, 0.20),
            ('KD', 0, 0.28),
            ('KD', 1, 0.25),
        )
    ]
    text = demo.verdict(runs)
    assert 'KD against student alone: -2.0 AP, +5.0 AP' in text
    assert '2 seeds' in text
    rows = demo.table_rows(runs)
    assert rows[2][:2] == ['student alone, seed 0', '30.0']
    assert '-----' in demo.format_table(rows)


def test_help():
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools/demo.py'), '-h'],
        capture_output=True,
        text=True,
    )
    assert '--seeds' in done.stdout
