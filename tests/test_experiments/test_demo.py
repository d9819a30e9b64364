"""The demos, with two iterations a student."""

import numpy as np
import pytest
import torch

from mmdet_rankkd.datasets import digits
from mmdet_rankkd.experiments import demo, sweep
from mmdet_rankkd.experiments.alignment import alignment, ranks
from mmdet_rankkd.experiments.cells import read_cells
from mmdet_rankkd.experiments.publish import publish
from mmdet_rankkd.experiments.report import Panel, draw_curves
from mmdet_rankkd.experiments.result import read_results
from mmdet_rankkd.experiments.table import read_table

from ..programs import tool
from .conftest import make_result

CLASSIFICATION = [
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.count=64',
    'val_dataloader.dataset.count=40',
    'default_hooks.logger.interval=1',
    'log_level=WARNING',
]


DETECTION = [
    'train_cfg.max_epochs=1',
    *(
        f'{split}_dataloader.{setting}'
        for split in ('train', 'val', 'test')
        for setting in ('num_workers=0', 'persistent_workers=False')
    ),
]


@pytest.fixture
def few_images(tmp_path, monkeypatch, here):
    """The digits set with a few images, in the current folder."""
    monkeypatch.chdir(tmp_path)
    digits.make_digits('data/digits', dict(train=16, val=6))
    monkeypatch.setattr(sweep, 'make_digits', lambda root: None)


def test_whole_demo_on_a_few_images(few_images, tmp_path, capsys):
    report = demo.run_demo(
        'demo_faster-rcnn',
        ['alone', 'kd+rank'],
        out='work_dirs/demo',
        options=[*DETECTION, 'default_hooks.logger.interval=1'],
        workers=1,
    )
    text = capsys.readouterr().out
    for name in (
        'teacher',
        'student alone',
        'KD + ranking',
        '31.99',
        'against student alone',
        'one or 3 seeds',
    ):
        assert name in text
    teacher, alone = (
        next(x for x in text.splitlines() if x.strip().startswith(f'{name} '))
        for name in ('teacher', 'student alone')
    )
    size, flops, latency = (float(x) for x in teacher.split()[-3:])
    small = [float(x) for x in alone.split()[-4:-1]]
    assert small[0] < size < 3 and small[1] < flops < 2
    assert small[2] > 0 and latency > 0
    page = report.read_text()
    assert page.count('<img src="data:image/png;base64,') == 2
    tables = page.replace('https://download', '').split('<h2>Configs</h2>')
    assert 'http' not in tables[0]
    assert page.count('<details>') == 3
    # What `rankkd report` makes of its work dirs stands beside it.
    assert '<a href="detections.html">' in page
    explored = (report.parent / 'detections.html').read_text()
    for name in ('student alone', 'KD + ranking', 'teacher'):
        assert f'"name":"{name}"' in explored
    results = read_results(tmp_path / 'work_dirs/demo')
    assert set(results) == {
        'alone_faster-rcnn',
        'kd-rank_faster-rcnn',
        'teacher_faster-rcnn',
    }
    assert set(results['alone_faster-rcnn']) == {0}
    assert set(results['kd-rank_faster-rcnn']) == {0, 1, 2}
    curves = results['kd-rank_faster-rcnn'][0].curves
    assert {'val/kendall_tau', 'train/loss_rank', 'train/loss_cls'} <= set(
        curves
    )
    # A second demo replaces the first, but no folder of somebody else.
    (tmp_path / 'work_dirs/demo/alone_faster-rcnn/seed0/options.json').unlink()
    with pytest.raises(FileExistsError, match='not of an earlier demo'):
        demo.run_demo('demo_faster-rcnn', ['alone'], out='work_dirs/demo')


def test_demo_of_a_dense_detector(few_images, tmp_path, capsys, monkeypatch):
    """Its teacher is trained first, and no seed if there is no time left."""
    monkeypatch.setattr(demo, 'MINUTES', 0)
    report = demo.run_demo('demo_gfl', ['kd'], options=DETECTION, workers=1)
    text = capsys.readouterr().out
    assert 'trained first: teacher_gfl' in text and '31.99' not in text
    assert 'That is one seed' in text and 'as there is time' not in text
    page = report.read_text()
    assert 'GFL' in page and 'teacher is most confident' in page
    assert 'BinaryKLDivLoss' in page
    assert (
        tmp_path / read_cells('digits').teacher_of('gfl')['checkpoint']
    ).is_file()


def test_whole_classification_demo(tmp_path, here):
    out = tmp_path / 'out'
    rows = ['student alone', 'KD + ranking']
    demo.run_demo('demo_cls', rows, [0], str(out), CLASSIFICATION, 1)
    text = (out / 'report.html').read_text()
    assert 'KD + ranking' in text and text.count('data:image/png') == 2
    (file,) = out.glob('alone*/seed0/result.json')
    results = read_results(out)
    assert all(
        0 <= run.last['accuracy/top1'] <= 100
        for runs in results.values()
        for run in runs.values()
    )
    # What the report shows can be published.
    table = read_table('demo_cls')
    _, page = publish(table, results, tmp_path)
    taus = [
        run.last['kendall_tau'] for run in results[file.parts[-3]].values()
    ]
    assert f' {taus[0]:.3f} |' in page.read_text() and f'{taus[0]:.3f}' in text
    assert 'not logged' not in page.read_text()
    # Again, it starts anew.
    before = file.stat().st_mtime_ns
    demo.run_demo('demo_cls', rows[:1], [0], str(out), CLASSIFICATION, 1)
    assert file.stat().st_mtime_ns > before


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


def test_curves_are_means_over_seeds():
    runs = [make_result('kd', seed, {}) for seed in (0, 1)]
    runs[0].curves['val/x'] = [[5, 0.1], [10, 0.3], [15, 0.4]]
    runs[1].curves['val/x'] = [[5, 0.3], [10, 0.5]]
    panels = [Panel('X', 'val/x', 100.0, teacher=70.0), Panel('Y', 'val/y')]
    figure = draw_curves(panels, {'KD': runs})
    line, teacher = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[5, 20], [10, 40]])
    assert set(teacher.get_ydata()) == {70.0}
    assert not figure.axes[1].lines


def test_detectors():
    assert set(demo.detectors()) == set(read_cells('digits').pairs)


def test_help():
    said = tool('demo', '-h').stdout
    assert '--seeds' in said and 'retinanet' in said
