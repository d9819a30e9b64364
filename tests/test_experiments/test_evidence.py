"""The tables that the claims of the documentation rest on, or will."""

import pytest

from mmdet_rankkd.experiments.table import TABLES, read_table

RANK = 'mmdet_rankkd.KendallRankLoss'


@pytest.mark.parametrize('name', sorted(p.stem for p in TABLES.glob('*.py')))
def test_learning_rates_fall_within_the_training(name):
    """The last schedule ends with it; steps are before its end.

    Those that count iterations know the length of an epoch, which is not in
    a config, so that they are not looked at here.
    """
    for cell in read_table(name).plan():
        train, schedules = cell.config.train_cfg, cell.config.param_scheduler
        last = schedules[-1]
        if last.get('by_epoch', True):
            ends = last.get('milestones', [last.get('end')])
            epochs = train.get('max_epochs')
            assert max(ends) <= epochs, cell.name
            assert 'milestones' in last or last.end == epochs, cell.name


def test_four_times_the_budget():
    """The rows of the report, and 12 epochs in place of 3."""
    report, longer = map(read_table, ('digits_report', 'digits_longer'))
    assert list(longer.rows)[: len(report.rows)] == list(report.rows)
    assert tuple(longer.seeds) == tuple(report.seeds)
    for row in report.rows:
        short, long = (
            t.cells_of(row, 'AP')[0].config for t in (report, longer)
        )
        assert long.train_cfg.max_epochs == 4 * short.train_cfg.max_epochs
        assert long.param_scheduler[1].T_max == 12
        assert long.model == short.model
        assert long.train_dataloader == short.train_dataloader


def test_ranking_beside_each_method():
    """What ranking adds is shown of each method of logits."""
    pairs = read_table('digits_report').comparisons()
    for method in ('KD', 'DKD', 'DKD, T = 3,', 'LSKD, not searched,'):
        assert (f'{method} + ranking', method.rstrip(',')) in pairs


def test_settings_carried_to_dense_detectors():
    table = read_table('digits_carried')
    assert len(table.columns) == 5 and len(table.seeds) == 3
    for column in table.columns:
        (cell,) = table.cells_of('KD + ranking', column)
        kd, rank = cell.config.model.losses
        assert kd.type == 'mmdet_rankkd.BinaryKLDivLoss'
        assert (kd.rows, kd.temperature) == ('foreground', 3)
        assert (rank.rows, rank.background) == ('foreground', False)


def test_search_of_the_ranking_loss():
    """Each setting beside each method, and nothing else differs."""
    table = read_table('digits_rank_search')
    settings = {'KD': [], 'DKD': [], 'LSKD': []}
    for row in table.rows:
        (cell,) = table.cells_of(row, 'AP')
        losses = cell.config.model.losses
        beside = row.split(' ')[0]
        if row == beside:
            continue
        (base,) = table.cells_of(beside, 'AP')
        assert losses[:-1] == base.config.model.losses
        settings[beside].append(losses[-1].to_dict())
    assert settings['KD'] == settings['DKD'] == settings['LSKD']
    found = settings['KD']
    assert all(x['type'] == RANK for x in found)
    for key, values in dict(
        k=[0.5, 1, 2, 4],
        form=[2, 3],
        loss_weight=[0.3, 1, 3],
        channels=['min', 'top'],
        rows=['confidence', 'foreground'],
    ).items():
        assert sorted({x[key] for x in found if key in x}) == values
    schedules = [x['schedule'] for x in found if 'schedule' in x]
    assert schedules == [
        dict(by_epoch=False, **x)
        for x in (dict(end=330), dict(begin=330), dict(warmup=330))
    ]


@pytest.mark.parametrize(
    'name, epochs', [('cifar100_16e', 16), ('cifar100_sensitivity', 8)]
)
def test_shortened_schedules_have_the_shape_of_the_recipe(name, epochs):
    whole = read_table('table2').plan()[0].config
    steps = whole.param_scheduler[0].milestones
    share = epochs / whole.train_cfg.max_epochs
    for cell in read_table(name).plan():
        assert cell.config.train_cfg.max_epochs == epochs
        (schedule,) = cell.config.param_scheduler
        assert schedule.milestones == [x * share for x in steps]
        for loss in cell.config.model.get('losses', []):
            if loss.type == 'mmdet_rankkd.DKDLoss':
                wanted = 20 * share * 782  # iterations an epoch
                assert loss.schedule == dict(
                    by_epoch=False, warmup=round(wanted)
                )


def ranking_losses(name):
    cells = read_table(name).plan()
    losses = [loss for cell in cells for loss in cell.config.model.losses]
    return [x for x in losses if x.type == RANK]


@pytest.mark.parametrize(
    'name, key', [('table6', 'loss_weight'), ('table7', 'k')]
)
def test_gamma_and_k_are_those_of_the_papers_tables(name, key):
    ours, wanted = map(ranking_losses, ('cifar100_sensitivity', name))
    values = {x.get(key, 1.0) for x in ours}
    assert {x[key] for x in wanted} <= values


def test_more_images_than_labels():
    """As many steps an epoch in each row, and a quarter of the labels."""
    table = read_table('digits_labels')
    (all_labelled,) = table.cells_of('CWD + KD, all labelled', 'AP')
    whole = all_labelled.config.train_dataloader.dataset
    for row in table.rows:
        (cell,) = table.cells_of(row, 'AP')
        data = cell.config.train_dataloader.dataset
        if 'all labelled' in row:
            assert data == whole
            continue
        sets = data.get('datasets', [data])
        parts = [x.get('dataset', x) for x in sets]
        counts = [x.indices * y.get('times', 1) for x, y in zip(parts, sets)]
        size = cell.config.train_dataloader.batch_size
        assert sum(counts) * 8 == whole.indices * size
        # As many labelled images a step as without the others.
        if '8 labelled' in row:
            assert counts[0] == whole.indices
        assert size == (14 if '14' in row or '8 labelled' in row else 8)
        assert dict(parts[0], indices=whole.indices) == whole
        assert parts[0].indices * 4 == whole.indices
        unlabelled = 'unlabelled' in row
        assert bool(cell.config.model.get('unlabelled')) == unlabelled
        if 'datasets' not in data:
            continue
        assert parts[1].data_prefix.img.endswith('more/')
        assert parts[1].type.endswith('UnlabelledDataset') == unlabelled
        steps = [x.type for x in parts[1].pipeline]
        assert ('mmdet.LoadAnnotations' in steps) != unlabelled
        assert unlabelled or parts[1].ann_file == 'pseudo.json'
