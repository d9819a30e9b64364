"""Figures of rows of a table: means, intervals, words."""

import numpy as np
import pytest

from mmdet_rankkd.experiments import figures as F

from ..conftest import make_result

ROWS = dict(
    metric='top-1 (%)',
    seeds=[0, 1, 2],
    values={
        'KD': [70.0, 71.0, 72.0],
        'a': [73.0, 74.1, 74.9],
        'b': [70.5, 70.0, 72.9],
        'c': [60.0, 61.0, 62.1],
    },
)


def test_gather(table):
    name = table.cells_of('k=2', 'top-1')[0].name
    base = table.cells_of('KD', 'top-1')[0].name
    results = {
        cell: {
            seed: make_result(cell, seed, {'accuracy/top1': start + seed})
            for seed in seeds
        }
        for cell, start, seeds in (
            (base, 60.0, (0, 3, 4)),
            (name, 70.0, (3, 0)),
        )
    }
    found = F.gather(table, results, ['KD', 'k=2'], 'top-1', 'top-1 (%)')
    assert found.seeds == [0, 3]
    assert found.values == {'KD': [60.0, 63.0], 'k=2': [70.0, 73.0]}
    with pytest.raises(ValueError, match=r"nothing ran of \['FitNet'\]"):
        F.gather(table, results, ['KD', 'FitNet'], 'top-1', 'top-1 (%)')
    with pytest.raises(ValueError, match='no columns'):
        F.gather(table, results, ['KD'], 'top-9', 'top-1 (%)')


def test_lines():
    found = F.Lines(
        **ROWS,
        base='KD',
        panels={'weight': {'one': [[0.1, 'b'], [1.0, 'a'], [4.0, 'c']]}},
        log=True,
    )
    assert (
        'Against KD (71.0), by the 95 % interval of the paired difference of '
        '3 seeds: helps: a; hurts: c; no difference seen: b.'
    ) in found.caption()
    axis = found.draw().axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ('weight', 'top-1 (%)')
    assert axis.get_xscale() == 'log'
    base, line = axis.lines[:2]
    assert set(base.get_ydata()) == {71.0}
    np.testing.assert_allclose(
        line.get_ydata(), [71.1333, 74.0, 61.0333], 1e-5
    )
    (bars,) = axis.containers
    # The quantile of Student's t with two degrees of freedom.
    reach = 4.302653 * np.std(ROWS['values']['a'], ddof=1) / 3**0.5
    low, high = (cap.get_ydata()[1] for cap in bars[1])
    assert (low, high) == pytest.approx((74.0 - reach, 74.0 + reach))


def test_heat():
    found = F.Heat(
        **ROWS,
        base='KD',
        panels={'alpha, gamma': [[1, 1, 'a'], [2, 1, 'b'], [2, 4, 'c']]},
    )
    caption = found.caption()
    assert 'from 61.0 to 74.0' in caption and 'helps: a; hurts: c' in caption
    axis = found.draw().axes[0]
    grid = axis.images[0].get_array()
    want = np.array([[74.0, 71.1333], [np.nan, 61.0333]])
    np.testing.assert_allclose(np.ma.filled(grid, np.nan), want, rtol=1e-5)
    assert (axis.get_xlabel(), axis.get_ylabel()) == ('alpha', 'gamma')
    assert {t.get_text() for t in axis.texts} >= {'74.0', '71.1', '61.0'}


def test_dots():
    found = F.Dots(**ROWS, pairs=[['a', 'KD'], ['c', 'KD']])
    caption = found.caption()
    assert '3 seeds' in caption and 'KD 71.0, a 74.0' in caption
    assert 'a against KD: +3.0 [+2.8, +3.2] helps; c against KD' in caption
    axis = found.draw().axes[0]
    assert list(axis.lines[2].get_xdata()) == ROWS['values']['a']
    assert list(axis.lines[3].get_xdata()) == [pytest.approx(74.0)]
    alone = F.Dots(**ROWS, pairs=[]).caption()
    assert alone.endswith('c 61.0.')


def test_one_seed_tells_nothing_apart():
    one = {row: values[:1] for row, values in ROWS['values'].items()}
    found = F.Dots('top-1 (%)', [0], one, [['a', 'KD']])
    assert 'a against KD: +3.0 one seed' in found.caption()
    lines = F.Lines('top-1 (%)', [0], one, 'KD', {'x': {'l': [[1, 'a']]}})
    assert '1 seed: one seed: a.' in lines.caption()
    lines.draw()
