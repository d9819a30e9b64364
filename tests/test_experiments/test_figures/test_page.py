"""The page of figures, of trainings of a minute and of the repository's."""

from dataclasses import asdict, replace

import click
import pytest
import torch

from mmdet_rankkd.cli.main import main
from mmdet_rankkd.experiments.figures import page as P
from mmdet_rankkd.experiments.figures.rows import Gathered
from mmdet_rankkd.experiments.models import load_job
from mmdet_rankkd.experiments.publish import published_file, read_published
from mmdet_rankkd.experiments.summary import figures
from mmdet_rankkd.experiments.sweep import run_table
from mmdet_rankkd.experiments.table import read_table
from mmdet_rankkd.losses import kendall_tau

from ...helpers import ROOT

TINY = (
    'train_cfg.max_epochs=4',
    'train_cfg.val_interval=4',
    'train_dataloader.dataset.count=32',
    'val_dataloader.dataset.count=60',
    'val_dataloader.batch_size=60',
    'log_level=WARNING',
)
ROWS = ('KD', 'KD + ranking', 'top 10 %', 'LSKD')
PICTURES = ROOT / 'docs/figures'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Four rows of the sweep, trained for four steps each."""
    from mmdet_rankkd.experiments import sweep

    from ..conftest import Here

    folder = tmp_path_factory.mktemp('runs')
    table = read_table('figures')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, 'make_pool', lambda *_: Here())
        run_table(table, table.plan(ROWS), [0], folder, TINY)
    return folder


def test_page(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(P.figure_6, '__defaults__', (30, 3))
    arguments = ['figures', 'figures', '--results', str(trained)]
    main([*arguments, '--out', str(tmp_path)], standalone_mode=False)
    text = (tmp_path / 'figures.md').read_text()
    about, parts = P.read_figures(
        (tmp_path / 'figures/numbers.json').read_text()
    )
    assert text == P.to_page(about, parts)
    found = {part.name: part.found for part in parts}
    for name in found:
        assert f'(figures/{name}.png)' in text
        start = (tmp_path / f'figures/{name}.png').read_bytes()[:4]
        assert start == b'\x89PNG'
    drawn = {'curves', 'landscape', 'alignment', 'channels', 'gradients'}
    assert drawn | {'probabilities_lskd', 'cost'} <= set(found)
    assert '- Tables 6 and 7: gamma and k: the rows of gamma and k' in text
    assert 'rankkd sweep figures' in text and '4 trainings' in text

    # Numbers are those of the checkpoints, and settings those of configs.
    of = P.Trained(read_table('figures'), trained)
    assert of.images.shape == (60, 3, 32, 32)
    student = P.logits_of(load_job(of.job('KD', 0)), of.images)
    curves, accuracy = found['curves'], of.rows['KD'][0].last['accuracy/top1']
    right = 100 * (student.argmax(1) == of.labels).float().mean().item()
    assert curves.accuracy['KD'][0][-1] == pytest.approx(right, rel=1e-4)
    assert accuracy == pytest.approx(right, rel=1e-4)
    assert curves.epochs == [1, 2, 3, 4]
    assert (curves.temperature, curves.k) == (4.0, 1.0)
    lower = of.teacher.argsort(1)[:, :40]
    tau = kendall_tau(student.gather(1, lower), of.teacher.gather(1, lower))
    low = found['alignment'].low['KD']
    assert low == [pytest.approx(tau.mean().item(), rel=1e-4)]
    share = (of.teacher.softmax(1) < 0.01).float().mean().item()
    below = found['probabilities'].below['teacher, T = 1']
    assert below == pytest.approx(share, rel=1e-4)
    assert found['landscape'].images == 30
    middle = found['landscape'].grids['KD'][0][1][1]
    kl = P.kl_div_loss(student[:30], of.teacher[:30], temperature=4.0)
    ce = torch.nn.functional.cross_entropy(student[:30], of.labels[:30])
    assert middle == pytest.approx((0.9 * kl + 0.1 * ce).item(), rel=1e-3)
    names = [x for line in found['channels'].panels.values() for x in line]
    assert names == ['top channels', 'min channels']


def test_the_cost_of_resumed_trainings_is_not_known(trained):
    of = P.Trained(read_table('figures'), trained)
    assert P.cost(of).seeds == [0]
    of.rows['KD'][0] = replace(of.rows['KD'][0], resumed=True)
    with pytest.raises(P.Lacking, match='a training that was resumed'):
        P.cost(of)


def test_what_cannot_be_drawn_is_said(trained, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(click.ClickException, match='nothing of figures was'):
        main(
            ['figures', '--results', str(tmp_path / 'empty')],
            standalone_mode=False,
        )
    with pytest.raises(ValueError, match='not a table of classifiers'):
        P.write_figures('demo_fcos', trained, tmp_path)
    assert not (tmp_path / 'figures.md').exists()


@pytest.fixture(scope='module')
def published():
    return P.read_figures((PICTURES / 'numbers.json').read_text())


def test_the_page_says_what_its_numbers_hold(published):
    assert (ROOT / 'docs/figures.md').read_text() == P.to_page(*published)
    names = {f'{part.name}.png' for part in published[1]}
    assert {p.name for p in PICTURES.glob('*.png')} == names
    for picture in PICTURES.glob('*.png'):
        assert picture.stat().st_size <= 80_000


def test_numbers_of_the_page_are_those_of_the_results(published):
    """Where they are metrics of trainings that are kept."""
    from mmdet_rankkd.experiments.publish import read_published
    from mmdet_rankkd.experiments.summary import figures

    table = read_table('figures')
    results = read_published(ROOT / 'results/figures.json')
    checked = set()
    for part in published[1]:
        numbers = asdict(part.found)
        if part.name == 'curves':
            rows = {
                row: [run[-1] for run in runs]
                for row, runs in numbers['accuracy'].items()
            }
        elif part.name == 'cost' or 'values' not in numbers:
            continue
        else:
            rows = numbers['values']
        for row, values in rows.items():
            kept = figures(table, row, 'top-1', results)
            want = [kept[seed] for seed in part.found.seeds]
            assert values == pytest.approx(want, rel=1e-4)
            checked.add((part.name, row))
    assert {('curves', 'KD'), ('channels', 'min 10 %')} <= checked


def test_its_numbers_are_those_of_the_published_trainings(published):
    """Of the figures that are made of results alone."""
    about, parts = published
    table = read_table(about['sweep'])
    results = read_published(published_file(ROOT, about['sweep']))
    found = {x.name: x.found for x in parts if isinstance(x.found, Gathered)}
    assert {'channels', 'init', 'tail', 'cost'} <= set(found)
    for name, numbers in found.items():
        for row, values in numbers.values.items():
            by_seed = figures(table, row, 'top-1', results)
            if name == 'cost':
                (cell,) = table.cells_of(row, 'top-1')
                by_seed = {
                    seed: round(60 * run.cpu_minutes, 1)
                    for seed, run in results[cell.name].items()
                }
            assert values == [by_seed[seed] for seed in numbers.seeds]
