"""Figures, differences and the printed forms of a table."""

import numpy as np
import pytest
from scipy import stats

from mmdet_rankkd.experiments.differences import paired_difference
from mmdet_rankkd.experiments.metrics import METRICS, find_metric
from mmdet_rankkd.experiments.publish import seeds_of
from mmdet_rankkd.experiments.summary import (
    difference_grid,
    figure_grid,
    figures,
    to_html,
    to_markdown,
    to_text,
    verdict,
    with_deviation,
)
from mmdet_rankkd.experiments.table import read_table

from .conftest import make_result


def results_of(table, figures):
    """Results by row and seed: top-1, with top-5 above and a better epoch."""
    found = {}
    for row, by_seed in figures.items():
        (cell,) = table.cells_of(row, 'top-1')
        for seed, (top1, top5) in by_seed.items():
            last = {'accuracy/top1': top1, 'accuracy/top5': top5}
            best = {k: v + 1 for k, v in last.items()}
            result = make_result(cell.name, seed, last, best)
            found.setdefault(cell.name, {})[seed] = result
    return found


def test_figures(table):
    results = results_of(table, {'KD': {0: (70.0, 90.0), 1: (72.0, 91.0)}})
    grid = figure_grid(table, results)
    assert grid == [
        ['', 'of', 'top-1', 'top-5'],
        ['KD', 'paper', '1.00', ''],
        ['', 'ours', '71.00 ± 1.41', '90.50 ± 0.71'],
        ['k=2', 'ours', 'not run', 'not run'],
        ['FitNet', 'paper; ours not there yet', '3.25', '4.50'],
    ]
    assert figure_grid(table, {})[1][1] == 'paper; ours not run'
    best = figure_grid(table, results, ['KD'], 'best')
    assert best[2][2] == '72.00 ± 1.41'
    assert figures(table, 'k=2', 'top-1', results) == {}
    assert to_markdown(grid).splitlines()[1] == '|---|---|---|---|'
    assert '| KD | paper | 1.00 |  |' in to_markdown(grid)
    assert '-----' in to_text(grid).splitlines()[1]
    page = to_html([['', 'a<b'], ['KD', '1']])
    assert page.count('<th>') == 2 and page.count('<td>') == 2
    assert 'a&lt;b' in page
    assert with_deviation([1.25], 2) == '1.25'


def test_a_column_may_choose_its_epoch(table_file):
    file = table_file(("metric='top5'", "epoch='best'"))
    table = read_table(file)
    results = results_of(table, {'KD': {0: (70.0, 90.0)}})
    assert figure_grid(table, results)[2][2:] == ['70.00', '71.00']


def test_a_row_of_some_columns(table_file):
    file = table_file(
        ("dict(method='kd')", "dict(method='kd', columns=['top-5'])")
    )
    table = read_table(file)
    (cell,) = table.cells_of('KD', 'top-5')
    result = make_result(cell.name, 3, {'accuracy/top5': 90.0})
    results = {cell.name: {3: result}}
    assert figure_grid(table, results)[2][2:] == ['–', '90.00']
    assert seeds_of(table, 'KD', results) == [3]


def test_averages_over_pairs():
    """The mean of pairs, seed by seed; nothing until all are there."""
    table = read_table('table11')
    column = 'similar structure'
    cells = table.cells_of('KD', column)
    assert len(cells) == 7
    results = {}
    for i, cell in enumerate(cells):
        assert figures(table, 'KD', column, results) == {}
        results[cell.name] = {
            seed: make_result(
                cell.name, seed, {'accuracy/top1': 60.0 + i + 2 * seed}
            )
            for seed in (0, 1)
        }
    assert figures(table, 'KD', column, results) == {0: 63.0, 1: 65.0}
    assert figure_grid(table, results, ['KD'])[2][2] == '64.00 ± 1.41'


def test_detection_in_percent():
    table = read_table('demo_faster-rcnn')
    (cell,) = table.cells_of('KD', 'AP')
    last = {'coco/bbox_mAP': 0.317, 'kendall_tau': 0.5561}
    results = {cell.name: {0: make_result(cell.name, 0, last)}}
    row = figure_grid(table, results, ['kd'])[1]
    # No AP75 is logged where nothing at all was found.
    assert row == ['KD', '31.7', '0.0', '0.0', '0.556']
    del last['kendall_tau']
    assert figure_grid(table, results, ['kd'])[1][-1] == 'not logged'
    assert METRICS['tau'].read({}) is None
    assert find_metric('coco/bbox_mAP_s').read({'coco/bbox_mAP_s': 0.1}) == 0.1


def test_paired_difference_is_the_t_test():
    rng = np.random.default_rng(0)
    kd = {seed: float(x) for seed, x in enumerate(rng.normal(70, 2, 8))}
    rank = {s: x + float(rng.normal(0.5, 1)) for s, x in kd.items()}
    found = paired_difference(rank, {**kd, 99: 1.0})
    expected = stats.ttest_rel(list(rank.values()), list(kd.values()))
    low, high = expected.confidence_interval(0.95)
    assert found.interval == pytest.approx((low, high))
    assert found.mean == pytest.approx((low + high) / 2)
    assert set(found.by_seed) == set(kd)


@pytest.mark.parametrize(
    'gains, word',
    [
        ([1.0], 'one seed'),
        ([1.0, 1.2, 1.1], 'helps'),
        ([-1.0, -1.2, -1.1], 'hurts'),
        ([1.8, -1.3, -3.0, 0.5, -0.9], 'no difference seen'),
        ([0.0, 0.0], 'no difference seen'),
    ],
)
def test_words(gains, word):
    zero = dict.fromkeys(range(len(gains)), 0.0)
    assert paired_difference(dict(enumerate(gains)), zero).word == word


def test_differences_that_are_none():
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    with pytest.raises(ValueError, match='not finite'):
        paired_difference({0: float('nan')}, {0: 1.0})


def test_a_figure_that_is_not_finite_is_named(table):
    ranked = {0: (70.0, 90.0), 1: (71.0, 90.0)}
    kd = {0: (70.0, 90.0), 1: (float('nan'), 90.0)}
    results = results_of(table, {'KD': kd, 'k=2': ranked})
    said = r"top-1 of 'k=2' against 'KD': .*not finite: \{0: 0.0, 1: nan\}"
    with pytest.raises(ValueError, match=said):
        difference_grid(table, results)


def test_differences_in_tables_and_words(table):
    kd = {0: (70.0, 90.0), 1: (72.0, 91.0), 2: (71.0, 92.0)}
    ranked = {0: (71.0, 90.0), 1: (73.1, 90.0), 2: (72.2, 92.5)}
    results = results_of(table, {'KD': kd, 'k=2': ranked})
    assert difference_grid(table, results) == [
        ['difference', 'top-1', 'top-5'],
        [
            'k=2 against KD',
            '+1.10 [+0.85, +1.35] helps',
            '-0.17 [-2.06, +1.73] no difference seen',
        ],
    ]
    assert verdict(table, results) == (
        'k=2 against KD: +1.10 top-1, 95 % interval +0.85 to +1.35 (+1.00, '
        '+1.10, +1.20, by seed): helps.'
    )
    results = results_of(table, {'KD': {0: kd[0]}, 'k=2': {0: ranked[0]}})
    assert verdict(table, results) == 'k=2 against KD: +1.00 top-1: one seed.'
    assert difference_grid(table, {}) == [['difference', 'top-1', 'top-5']]
    assert verdict(table, results, ['KD']) == ''
