"""Config, checkpoint, method and seed of work dirs."""

import os

import pytest

from mmdet_rankkd.experiments.explore.runs import find_checkpoint, find_runs

CONFIG = (
    'model = dict(type="A", depth={depth})\nrandomness = dict(seed={seed})'
)


@pytest.fixture
def make(tmp_path):
    """Function that makes a work dir, and returns its name."""

    def make(name, depth=1, seed=0):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        config = CONFIG.format(depth=depth, seed=seed)
        config += f'\nwork_dir = {str(folder)!r}'
        (folder / 'mine.py').write_text(config)
        (folder / 'epoch_1.pth').touch()
        return str(folder)

    return make


def facts(places):
    return [(run.method, run.seed) for run in find_runs(places)]


def test_same_configs_are_seeds_of_one_method(make):
    places = [make('alone/seed3', 1, 3), make('kd/seed3', 2, 3)]
    places += [make('alone/seed4', 1, 4), make('rank', 3, 0)]
    assert facts(places) == [
        ('alone', 3),
        ('kd', 3),
        ('alone', 4),
        ('rank', 0),
    ]


def test_equal_names_are_told_apart_by_their_folders(make):
    places = [make('a/run', 1), make('b/run', 2)]
    assert facts(places) == [('run', 0), (places[1], 0)]


def test_seeds_that_are_not_known_are_numbered(make):
    places = [make('a', 1, 5), make('b', 1, None), make('c', 1, 5)]
    assert facts(places) == [('a', 5), ('a', 0), ('a', 1)]


def test_names_that_are_given(make):
    places = [make('a', 1, 0), make('b', 2, 1), make('x=c', 3, 0)]
    named = [f'M={places[0]}', f'M={places[1]}', f'N={places[2]}']
    assert facts(named) == [('M', 0), ('M', 1), ('N', 0)]
    assert facts(places[2:]) == [('x=c', 0)]
    with pytest.raises(ValueError, match='or for none'):
        find_runs([named[0], places[1]])
    with pytest.raises(ValueError, match='named twice'):
        find_runs([places[0], places[0] + '/'])


def test_what_is_lacking(make, tmp_path):
    with pytest.raises(FileNotFoundError, match='no work dir .*none'):
        find_runs([str(tmp_path / 'none')])
    with pytest.raises(FileNotFoundError, match='has no config'):
        find_runs([str(tmp_path)])
    place = make('a')
    (tmp_path / 'a/epoch_1.pth').unlink()
    (tmp_path / 'a/epoch_x.pth').touch()
    with pytest.raises(FileNotFoundError, match='has no checkpoint'):
        find_runs([place])
    with pytest.raises(FileNotFoundError, match='save_best'):
        find_runs([place], best=True)


def test_the_checkpoint(make, tmp_path):
    folder = tmp_path / 'a'
    make('a')
    for name in ('epoch_2', 'epoch_10', 'best_a', 'best_b', 'weights'):
        (folder / f'{name}.pth').touch()
    os.utime(folder / 'best_a.pth', (1, 2**33))
    assert find_checkpoint(folder).name == 'epoch_10.pth'
    assert find_checkpoint(folder, best=True).name == 'best_a.pth'
    note = folder / 'last_checkpoint'
    note.write_text('/moved/away/epoch_2.pth')
    assert find_checkpoint(folder).name == 'epoch_2.pth'
    other = tmp_path / 'elsewhere.pth'
    other.touch()
    note.write_text(str(other))
    assert find_checkpoint(folder) == other
    note.write_text('/gone/epoch_3.pth')
    assert find_checkpoint(folder).name == 'epoch_10.pth'


def test_the_newest_config_of_several(make, tmp_path):
    place = make('a')
    newer = tmp_path / 'a/newer.py'
    newer.write_text(CONFIG.format(depth=1, seed=7))
    os.utime(newer, (1, 2**33))
    (run,) = find_runs([place])
    assert run.config == newer and run.seed == 7
