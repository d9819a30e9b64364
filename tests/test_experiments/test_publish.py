"""Results kept in the repository, and their pages."""

from dataclasses import replace

import pytest

from mmdet_rankkd.experiments.publish import (
    publish,
    published_file,
    read_published,
    spans,
    to_page,
)
from mmdet_rankkd.experiments.table import read_table

from ..helpers import ROOT
from .conftest import make_result

PUBLISHED = sorted((ROOT / 'results').glob('*.json'))


@pytest.fixture
def results(table):
    """Of two seeds of KD and of KD + ranking, and of a foreign cell."""
    found = {'foreign': {0: make_result('foreign', 0, {'accuracy/top1': 1.0})}}
    for row, figures in {'KD': (70.0, 72.0), 'k=2': (71.0, 73.0)}.items():
        (cell,) = table.cells_of(row, 'top-1')
        found[cell.name] = {
            seed: make_result(cell.name, seed, {'accuracy/top1': figure})
            for seed, figure in enumerate(figures)
        }
    return found


def test_what_is_written_is_read(table, results, tmp_path):
    file, page = publish(table, results, tmp_path)
    assert file == published_file(tmp_path, 'mine')
    again = read_published(file)
    del results['foreign']
    assert list(again) == list(results)
    for name, runs in results.items():
        for seed, result in runs.items():
            kept = again[name][seed]
            curves = {
                k: v for k, v in result.curves.items() if k.startswith('val/')
            }
            assert kept.last == result.last and kept.curves == curves
            assert kept.versions == result.versions
    text = page.read_text()
    assert text == to_page(table, again)
    assert '| KD | paper | 1.00 |  |  |' in text
    assert '|  | ours | 71.00 ± 1.41 | not logged | 0–1 |' in text
    assert '| k=2 against KD | +1.00 [+1.00, +1.00] helps |' in text
    assert '--seeds 0 1\n' in text
    assert 'FitNet | paper; ours not there yet' in text


def test_results_come_together(table, results, tmp_path):
    """Of another machine, later; but none is replaced."""
    publish(table, results, tmp_path)
    (cell,) = table.cells_of('KD', 'top-1')
    other = make_result(cell.name, 5, {'accuracy/top1': 75.0})
    other = replace(other, device='another processor')
    file, page = publish(table, {cell.name: {5: other}}, tmp_path)
    found = read_published(file)
    assert sorted(found[cell.name]) == [0, 1, 5]
    assert found[cell.name][5].device == 'another processor'
    assert found[cell.name][0].device != 'another processor'
    assert '| 0–1, 5 |' in page.read_text()
    before = file.read_text()
    changed = make_result(cell.name, 0, {'accuracy/top1': 71.0})
    with pytest.raises(ValueError, match=r'another result of .* seed 0'):
        publish(table, {cell.name: {0: changed}}, tmp_path)
    assert file.read_text() == before


def test_columns_of_other_seeds_are_named(table, tmp_path):
    (cell,) = table.cells_of('KD', 'top-1')
    both = {'accuracy/top1': 70.0, 'accuracy/top5': 90.0}
    found = {s: make_result(cell.name, s, both) for s in (0, 1)}
    found[2] = make_result(cell.name, 2, {'accuracy/top1': 71.0})
    _, page = publish(table, {cell.name: found}, tmp_path)
    assert '| 0–2: top-1; 0–1: top-5 |' in page.read_text()


def test_differences_between_unlike_trainings_are_marked(
    table, results, tmp_path
):
    _, page = publish(table, results, tmp_path / 'alike')
    assert '†' not in page.read_text()
    (cell,) = table.cells_of('KD', 'top-1')
    run = results[cell.name][1]
    results[cell.name][1] = replace(run, commit='another')
    _, page = publish(table, results, tmp_path / 'unlike')
    text = page.read_text()
    assert '| k=2 against KD † | +1.00 [+1.00, +1.00] helps |' in text
    assert '† The two trainings of a seed are of different commits' in text
    # A seed that only one of the two has compares nothing.
    results[cell.name] = {0: results[cell.name][0], 7: replace(run, seed=7)}
    _, page = publish(table, results, tmp_path / 'alone')
    assert '†' not in page.read_text()


def test_time_of_resumed_trainings_is_that_of_their_end(
    table, results, tmp_path
):
    _, page = publish(table, results, tmp_path / 'whole')
    assert 'resumed' not in page.read_text()
    (cell,) = table.cells_of('KD', 'top-1')
    run = results[cell.name][0]
    results[cell.name][0] = replace(run, resumed=True)
    _, page = publish(table, results, tmp_path / 'resumed')
    assert '(of 1 that were resumed, since then)' in page.read_text()


def test_the_teacher_is_shown_and_not_counted(table_file, results, tmp_path):
    table = read_table(
        table_file(
            ('rows = {', "rows = {'teacher': dict(method='teacher'),"),
            ("paper = {'KD': [1.0, None], 'FitNet': [3.25, 4.5]}", ''),
        )
    )
    name = 'teacher_resnet14x2'
    last = {'accuracy/top1': 99.5}
    results[name] = {0: make_result(name, 0, last)}
    for runs in list(results.values())[1:3]:
        for seed in (0, 1):
            runs[seed + 5] = replace(runs.pop(seed), seed=seed + 5)
    file, page = publish(table, results, tmp_path)
    assert read_published(file)[name][0].last == last
    text = page.read_text()
    assert '| teacher | 99.50 | – |  |' in text
    assert '| KD | 71.00 ± 1.41 | not logged | 5–6 |' in text
    assert '--seeds 5 6\n' in text
    assert '\n4 trainings, ' in text


def test_nothing_to_publish(table, tmp_path):
    with pytest.raises(ValueError, match='no result of mine'):
        publish(table, {}, tmp_path)
    assert not list(tmp_path.glob('results'))


def test_a_foreign_file(tmp_path):
    file = tmp_path / 'x.json'
    for text in ('{', '[]', '{"runs": [{}]}', '{"runs": [{"a": 1}]}'):
        file.write_text(text)
        with pytest.raises(ValueError, match='not a file of published'):
            read_published(file)


def test_spans():
    assert spans([]) == ''
    assert spans([3]) == '3'
    assert spans([7, 0, 1, 2]) == '0–2, 7'


@pytest.mark.parametrize('file', PUBLISHED, ids=lambda f: f.stem)
def test_pages_say_what_their_files_hold(file):
    """And every table that has a file can still be read."""
    page = ROOT / 'docs/results' / f'{file.stem}.md'
    table = read_table(file.stem)
    assert page.read_text() == to_page(table, read_published(file))
