"""Sweeps: plans, trainings that go on where they stopped, tables."""

import json

import pytest
from mmengine.config import Config

from mmdet_rankkd.analysis import sweep as S
from mmdet_rankkd.analysis.sweep import (
    figure_of,
    plan,
    read_results,
    read_sweep,
    run_sweep,
    table_rows,
    to_markdown,
)

SMALL = [
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.count=64',
    'val_dataloader.dataset.count=40',
    'log_level=WARNING',
]
FILE = """
title = 'A sweep'
cells = 'digits_cls'
columns = {
    'top-1': dict(pair='resnet14x2_resnet8'),
    'top-5': dict(pair='resnet14x2_resnet8', metric='top5'),
}
rows = {
    'KD': dict(method='kd'),
    'k=2': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=2.0))),
    'FitNet': dict(),
}
paper = {'KD': [1.0, None], 'FitNet': [3.25, 4.5]}
"""


@pytest.fixture
def sweep(tmp_path):
    (tmp_path / 'mine.py').write_text(FILE)
    return read_sweep(str(tmp_path / 'mine.py'))


def test_plan(sweep):
    cells = plan(sweep)
    assert [c.name for c in cells] == [
        'kd_resnet14x2_resnet8',
        'kd-rank_resnet14x2_resnet8_KendallRankLoss-k-2p0',
    ]
    losses = Config.fromstring(cells[1].text, '.py').model.losses
    assert losses[1].k == 2
    assert len(plan(sweep, rows=['KD'])) == 1
    with pytest.raises(ValueError, match='no rows'):
        plan(sweep, rows=['AT'])
    with pytest.raises(ValueError, match='no columns'):
        plan(sweep, columns=['AP'])


def test_trains_and_goes_on(sweep, tmp_path, capsys):
    out = tmp_path / 'out'
    cells = plan(sweep, rows=['KD'])
    run_sweep(sweep, cells, [0], out, SMALL, 1)
    (file,) = out.glob('*/seed0/result.json')
    result = json.loads(file.read_text())
    assert set(result['last']) == {'accuracy/top1', 'accuracy/top5'}
    assert result['best']['accuracy/top1'] == result['last']['accuracy/top1']
    before = file.stat().st_mtime_ns
    run_sweep(sweep, cells, [0], out, SMALL, 1)
    assert file.stat().st_mtime_ns == before
    assert '1 of them done before' in capsys.readouterr().out
    with pytest.raises(FileExistsError, match='choose another folder'):
        run_sweep(sweep, cells, [0], out, SMALL[:1], 1)
    # Stopped after its first epoch, a training goes on with the second.
    file.unlink()
    longer = ['train_cfg.max_epochs=2', *SMALL[1:]]
    file.with_name('options.json').write_text(json.dumps(longer))
    run_sweep(sweep, cells, [0], out, longer, 1)
    log = file.with_name('output.log').read_text()
    assert log.count('epoch_1.pth') and file.is_file()
    assert file.with_name('epoch_2.pth').is_file()


def test_a_failed_training_is_reported(sweep, tmp_path):
    cells = plan(sweep, rows=['KD'])
    options = [*SMALL, 'model.teacher.checkpoint=missing.pth']
    with pytest.raises(RuntimeError, match='missing.pth') as error:
        run_sweep(sweep, cells, [0], tmp_path / 'out', options, 1)
    assert 'output.log' in str(error.value)
    assert read_results(tmp_path / 'out') == {}


def test_a_killed_worker_is_replaced(sweep, tmp_path):
    """The process of seed 0 ends as by a crash; seed 1 still trains."""
    (cell,) = plan(sweep, rows=['KD'])
    crash = (
        "if 'seed0' in __import__('sys').stdout.name:\n"
        "    __import__('os')._exit(9)\n"
    )
    cell = S.Cell(cell.name, crash + cell.text)
    out = tmp_path / 'out'
    with pytest.raises(RuntimeError, match='1 of 2 trainings failed'):
        run_sweep(sweep, [cell], [0, 1], out, SMALL, 1)
    assert len(read_results(out)[cell.name]) == 1


def write(out, cell, seed, top1, top5):
    folder = out / cell.name / f'seed{seed}'
    folder.mkdir(parents=True)
    metrics = {'accuracy/top1': top1, 'accuracy/top5': top5}
    best = {k: v + 1 for k, v in metrics.items()}
    (folder / 'result.json').write_text(
        json.dumps(dict(last=metrics, best=best))
    )


def test_table(sweep, tmp_path):
    kd, rank = plan(sweep)
    write(tmp_path, kd, 0, 70.0, 90.0)
    write(tmp_path, kd, 1, 72.0, 91.0)
    results = read_results(tmp_path)
    assert figure_of(sweep, 'KD', 'top-1', results) == '71.00 ± 1.41'
    assert figure_of(sweep, 'KD', 'top-5', results) == '90.50 ± 0.71'
    assert figure_of(sweep, 'KD', 'top-1', results, 'best').startswith('72.00')
    assert figure_of(sweep, 'k=2', 'top-1', results) is None
    rows = table_rows(sweep, results)
    assert rows == [
        ['', 'of', 'top-1', 'top-5'],
        ['KD', 'paper', '1.00', ''],
        ['', 'ours', '71.00 ± 1.41', '90.50 ± 0.71'],
        ['k=2', 'ours', 'not run', 'not run'],
        ['FitNet', 'paper; ours not there yet', '3.25', '4.50'],
    ]
    assert table_rows(sweep, {})[1][1] == 'paper; ours not run'
    assert to_markdown(rows).splitlines()[1] == '|---|---|---|---|'


def test_averages_over_pairs(tmp_path):
    """The mean of pairs, seed by seed; nothing until all are there."""
    sweep = read_sweep('table11')
    cells = S.cells_of(sweep, 'KD', 'similar structure')
    assert len(cells) == 7
    for i, cell in enumerate(cells):
        if i == 6:
            results = read_results(tmp_path)
            assert figure_of(sweep, 'KD', 'similar structure', results) is None
        for seed in (0, 1):
            write(tmp_path, cell, seed, 60.0 + i + 2 * seed, 90)
    results = read_results(tmp_path)
    found = figure_of(sweep, 'KD', 'similar structure', results)
    assert found == '64.00 ± 1.41'


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='table1, '):
        read_sweep('table99')
    (tmp_path / 'a.py').write_text("title = 'x'")
    with pytest.raises(ValueError, match='lacks cells, columns, rows'):
        read_sweep(str(tmp_path / 'a.py'))
    (tmp_path / 'b.py').write_text(FILE.replace('[1.0, None]', '[1.0]'))
    with pytest.raises(ValueError, match="1 numbers in row 'KD'"):
        read_sweep(str(tmp_path / 'b.py'))
