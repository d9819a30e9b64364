"""Reading tables: what they name, grids, and what is wrong in them."""

import pytest

from mmdet_rankkd.experiments.cells import read_cells
from mmdet_rankkd.experiments.sweep import jobs_of
from mmdet_rankkd.experiments.table import read_table


def test_plan(table):
    cells = table.plan()
    assert [c.name for c in cells] == [
        'kd_resnet14x2_resnet8',
        'kd-rank_resnet14x2_resnet8_KendallRankLoss-k-2p0',
    ]
    assert cells[1].config.model.losses[1].k == 2
    assert len(table.plan(rows=['KD'])) == 1
    assert table.cells_of('FitNet', 'top-1') == []
    with pytest.raises(ValueError, match='no rows'):
        table.plan(rows=['AT'])
    with pytest.raises(ValueError, match='no columns'):
        table.plan(columns=['AP'])


def test_rows_by_title_or_method():
    table = read_table('demo_faster-rcnn')
    assert table.find_rows(['kd+rank', 'KD', 'kd']) == ['KD + ranking', 'KD']
    assert table.find_rows() == list(table.rows)
    # A method of several rows does not name one.
    with pytest.raises(ValueError, match="no rows.*'kd.rank'"):
        read_table('table7').find_rows(['kd+rank'])


def test_settings_of_rows_and_columns(table_file):
    """A row has the last word; any setting of a config can be made."""
    file = table_file(
        (
            "dict(pair='resnet14x2_resnet8'),",
            "dict(pair='resnet14x2_resnet8', set=dict(KLDivLoss=dict("
            'temperature=2, loss_weight=1.5)), '
            "options={'train_cfg.max_epochs': 3, 'log_level': 'DEBUG'}),",
        ),
        (
            "'KD': dict(method='kd'),",
            "'KD': dict(method='kd', set=dict(KLDivLoss=dict(temperature=6)),"
            "options={'train_cfg.max_epochs': 5, "
            "'model.losses.0.schedule': dict(end=2)}),",
        ),
    )
    table = read_table(file)
    (cell,) = table.cells_of('KD', 'top-1')
    cfg = cell.config
    assert cfg.model.losses[0].temperature == 6
    assert cfg.model.losses[0].loss_weight == 1.5
    assert cfg.model.losses[0].schedule == dict(end=2)
    assert cfg.train_cfg.max_epochs == 5 and cfg.log_level == 'DEBUG'
    (other,) = table.cells_of('KD', 'top-5')
    assert other.name != cell.name
    assert other.config.train_cfg.max_epochs == 5
    assert other.config.log_level == 'INFO'


def test_grid(table_file):
    """Rows for each combination of values, of losses and of the config."""
    file = table_file(
        (
            "'k=2': dict(method='kd+rank', "
            'set=dict(KendallRankLoss=dict(k=2.0))),',
            """'search': dict(
    method='kd+rank',
    set=dict(KendallRankLoss=dict(form=1)),
    grid={
        'set': {
            'KendallRankLoss.k': [0.5, 4],
            'KLDivLoss.temperature': [1, 3],
        },
        'options': {'train_cfg.max_epochs': [2, 3, 4]},
    },
),""",
        )
    )
    table = read_table(file)
    rows = [r for r in table.rows if r.startswith('search')]
    assert len(rows) == 12 and len(table.plan(rows)) == 12
    assert rows[0] == 'search, k=0.5, temperature=1, max_epochs=2'
    # Its title stands for all of them.
    assert table.find_rows(['search', rows[1], 'KD']) == [*rows, 'KD']
    with pytest.raises(ValueError, match="there are 'KD', 'FitNet', 'search'"):
        table.find_rows(['serach'])
    (cell,) = table.cells_of(
        'search, k=4, temperature=3, max_epochs=3', 'top-1'
    )
    kd, rank = cell.config.model.losses
    assert (kd.temperature, rank.k, rank.form) == (3, 4, 1)
    assert cell.config.train_cfg.max_epochs == 3


def test_a_row_of_some_columns(table_file):
    """Its method need not be there for the others."""
    file = table_file(
        ("dict(method='kd')", "dict(method='kd', columns=['top-5'])")
    )
    table = read_table(file)
    assert table.cells_of('KD', 'top-1') == []
    assert len(table.cells_of('KD', 'top-5')) == 1
    table = read_table('digits_methods')
    with pytest.raises(ValueError, match='does not apply to faster-rcnn'):
        table.cells.method('faster-rcnn', 'crosskd')
    names = [len(table.plan([x])) for x in ('KD', 'CrossKD', 'LD')]
    assert names == [3, 2, 1]


def test_the_teacher_is_tested(table_file):
    file = table_file(("dict(method='kd')", "dict(method='teacher')"))
    table = read_table(file)
    (cell,) = table.plan(['teacher'])
    assert cell.name == 'teacher_resnet14x2'
    assert cell.checkpoint.endswith('resnet14x2_digits-cls.pth')
    assert cell.config.model.backbone.arch[0] == 16
    assert [x.checkpoint for x in table.plan(['k=2'])] == [None]


def test_what_is_compared(table_file):
    table = read_table('table1')
    assert ('KD + ranking', 'KD') in table.comparisons()
    assert ('MLKD + ranking', 'MLKD') in table.comparisons()
    assert len(table.comparisons()) == 4
    assert table.comparisons(['KD + ranking', 'CTKD']) == []
    file = table_file(
        ("dict(method='kd')", "dict(method='kd', against=['k=2'])")
    )
    assert read_table(file).comparisons() == [('KD', 'k=2'), ('k=2', 'KD')]


def test_every_pair_of_a_set_is_a_file_away():
    """All detectors side by side, with the same settings."""
    pairs = read_cells('digits').pairs
    names = {read_table(f'demo_{p}').plan(['kd'])[0].name for p in pairs}
    assert names == {f'kd_{p}' for p in pairs}


@pytest.mark.parametrize(
    'old, new, match',
    [
        ("cells = 'digits_cls'", "cells = 'digits_clss'", 'no set of cells'),
        ('title =', 'titel =', 'lacks title'),
        ('paper =', 'papers =', "'papers', which nothing reads"),
        ('paper =', "name = 'mine'\npaper =", "'name', which nothing reads"),
        (
            'paper =',
            'grids = {}\npaper =',
            "'grids', which nothing reads",
        ),
        ("dict(method='kd')", "dict(methd='kd')", "row 'KD'.*'methd'"),
        ("method='kd')", "method='kdd')", "'KD', column 'top-1'.*'kdd'"),
        ("metric='top5'", "metric='top55'", "no metric 'top55'"),
        ("metric='top5'", "epoch='first'", "'last' or 'best'"),
        ("resnet14x2_resnet8')", "resnet14x2_vgg8')", "no pair 'resnet14x2_"),
        ('dict(KendallRankLoss', 'dict(DKDLoss', "row 'k=2'.*no DKDLoss"),
        ("'FitNet': [", "'AT': [", "no row .*'AT'"),
        ("dict(method='kd')", "dict(method='kd', columns=['x'])", "'x'"),
        ('[1.0, None]', '[1.0]', "1 numbers in row 'KD'"),
        ("dict(method='kd')", "dict(method='kd', against=['x'])", "'x'"),
        (
            "dict(method='kd')",
            "dict(method='teacher', options={'x': 1})",
            "'KD' is of the teacher, which is tested as it is",
        ),
        (
            "dict(method='kd')",
            "dict(method='kd', grid=dict(sets={}))",
            "'sets'",
        ),
        (
            "dict(method='kd')",
            "dict(method='kd', grid=dict(set=dict(k=[1])))",
            '<loss>.<argument>',
        ),
    ],
)
def test_names_of_nothing(old, new, match, table_file):
    with pytest.raises(ValueError, match=match):
        read_table(table_file((old, new)))


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='table1, '):
        read_table('table99')
    (tmp_path / 'a.py').write_text("title = 'x'")
    with pytest.raises(ValueError, match='lacks cells, columns, rows'):
        read_table(str(tmp_path / 'a.py'))


def test_an_option_of_nothing(table_file, tmp_path):
    table = read_table(
        table_file(
            ("dict(method='kd')", "dict(method='kd', options={'modle.x': 1})")
        )
    )
    out = tmp_path / 'out'
    with pytest.raises(ValueError, match="'modle.x' sets nothing"):
        jobs_of(table, table.plan(), (0,), out)
    assert not out.exists()
