"""Every cell of every table is composed, dumped, read again and built."""

import json
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmdet_rankkd.checkpoint.read import locate_file
from mmdet_rankkd.distillers import DistillClassifier, DistillDetector
from mmdet_rankkd.experiments.cells import (
    cell_name,
    cell_sets,
    compose,
    merge_options,
    parse_losses,
    read_cells,
    read_config,
    write_config,
)
from mmdet_rankkd.experiments.metrics import TASKS
from mmdet_rankkd.experiments.table import TABLES, read_table

from ..helpers import ROOT, build

NAMES = sorted(p.stem for p in TABLES.glob('*.py'))


SOURCES = [*NAMES, *(f'cells of {x}' for x in cell_sets())]
NUMBER = re.compile(r'-?\b\d+(\.\d+)?(e-?\d+)?\b')
_students = {}
_shapes = set()


def test_there_are_all_tables():
    demos = ['atss', 'cls', 'faster-rcnn', 'fcos', 'gfl', 'retinanet']
    expected = [f'demo_{x}' for x in [*demos, 'rtmdet']]
    assert {*expected, *(f'table{i}' for i in range(1, 14))} <= set(NAMES)


def configs_of(source):
    """The cells of a table, or every method of every pair of a set."""
    if source in NAMES:
        table = read_table(source)
        plan = table.plan()
        return table.cells, {cell.name: cell.config for cell in plan}
    cells = read_cells(source.removeprefix('cells of '))
    found = {}
    for pair in cells.pairs:
        for method, facts in cells.methods.items():
            if pair not in facts.get('only', [pair]):
                continue
            ranked = [f'{method}+rank'] if method in cells.rank else []
            for each in (method, *ranked):
                found[cell_name(pair, each)] = compose(cells, pair, each)
    return cells, found


def student_of(config):
    """Networks take longer to build than the rest: one of each is enough."""
    key = json.dumps(config.to_dict())
    if key not in _students:
        _students[key] = build(Config(dict(model=config)).model)
    return _students[key]


@pytest.mark.usefixtures('no_random_weights')
@pytest.mark.parametrize('source', SOURCES)
def test_dump_read_and_build(source, tmp_path):
    """Of configs that differ in numbers alone, one is dumped and built."""
    cells, configs = configs_of(source)
    texts = {k: json.dumps(c.to_dict()) for k, c in configs.items()}
    # Two pairs of one student have the same training of it alone.
    distinct = {x for k, x in texts.items() if 'alone' not in k}
    count = len([k for k in texts if 'alone' not in k])
    assert len(distinct) == count, 'names tell cells apart'
    for name, config in configs.items():
        shape = NUMBER.sub('0', texts[name])
        if shape not in _shapes:
            _shapes.add(shape)
            check_cell(name, config, cells.kind.wrapper, tmp_path / 'cell.py')


def check_cell(name, config, wrapper, path):
    """Dump a config, read it and build its model."""
    config.dump(path)
    # A moved checkout must not break it.
    assert str(ROOT) not in path.read_text(), name
    cfg = Config.fromfile(path)
    assert cfg.to_dict() == config.to_dict(), name
    student = Config(dict(cfg.model.get('student', cfg.model)))
    model = student_of(student)
    if name.startswith(('alone_', 'teacher_')):
        assert 'teacher' not in cfg.model, name
        return
    config = cfg.model.copy()
    config.student = model
    distiller = build(config)
    assert isinstance(distiller, (DistillClassifier, DistillDetector)), name
    assert wrapper.endswith(type(distiller).__name__), name
    types = [loss['type'] for loss in cfg.model.losses]
    ranks = 'mmdet_rankkd.KendallRankLoss' in types
    assert ranks == ('rank_' in name), name
    assert len(distiller.losses) == len(types), name
    teacher = cfg.model.teacher
    if not teacher.config.startswith('mmdet::'):
        assert locate_file(teacher.config, 'config')
    if teacher.checkpoint.startswith('mmdet_rankkd::'):
        assert locate_file(teacher.checkpoint, 'checkpoint')


METHODS = {'alone': '', 'kd+rank': 'rankkd'}
METHODS.update({m: m for m in ('kd', 'rank', 'ctkd', 'fitnet', 'fgfi', 'dkd')})


@pytest.mark.parametrize('recipe', ['180k', '1x'])
@pytest.mark.parametrize('method', [*METHODS, 'reviewkd'])
def test_cells_of_coco_are_the_shipped_configs(method, recipe):
    student = f'faster-rcnn_mobilenet-v2_fpn_{recipe}_coco.py'
    prefix = METHODS.get(method, method)
    name = f'{prefix}_faster-rcnn_r50_{student}' if prefix else student
    shipped = read_config(f'mmdet_rankkd::coco/{name}').to_dict()
    shipped.pop('teacher', None)
    pair = f'r50_mobilenet-v2_fpn_{recipe}'
    assert compose(read_cells('coco'), pair, method).to_dict() == shipped


@pytest.mark.parametrize('detector', read_cells('digits').pairs)
def test_cells_of_the_digits(detector):
    cells = read_cells('digits')
    dense = detector != 'faster-rcnn'
    cfg = compose(cells, detector, 'kd+rank')
    kd = 'BinaryKLDivLoss' if dense else 'KLDivLoss'
    assert cfg.model.losses == [
        dict(type=f'mmdet_rankkd.{kd}', temperature=1.0, loss_weight=1.0),
        dict(type='mmdet_rankkd.KendallRankLoss', k=1.0, loss_weight=1.0),
    ]
    hook = 'DenseLogits' if dense else 'RoILogits'
    assert cfg.model.logits.type == f'mmdet_rankkd.{hook}'
    for each in (cfg, compose(cells, detector, 'alone')):
        assert each.train_dataloader.dataset.indices == 1760
        assert each.default_hooks.logger.interval == 25
        (hook,) = each.custom_hooks
        assert hook.teacher == cells.teacher_of(detector)
        assert hook.max_batches == 10
    shipped = hook.teacher.checkpoint.startswith('mmdet_rankkd::')
    assert shipped == (not dense)


@pytest.mark.parametrize(
    'method, pair, expected',
    [
        # CE, KL, ranking: 0.1, 0.9 at T = 4, 0.9.
        (
            'kd+rank',
            'resnet32x4_resnet8x4',
            dict(
                ce=0.1,
                KLDivLoss=dict(loss_weight=0.9, temperature=4),
                KendallRankLoss=dict(loss_weight=0.9),
                lr=0.05,
            ),
        ),
        (
            'dkd',
            'vgg13_vgg8',
            dict(ce=1.0, DKDLoss=dict(alpha=1, beta=6, temperature=4)),
        ),
        (
            'dkd',
            'resnet110_resnet20',
            dict(ce=1.0, DKDLoss=dict(beta=2)),
        ),
        (
            'mlkd',
            'resnet32x4_resnet8x4',
            dict(
                ce=0.1,
                MLKDLoss=dict(loss_weight=0.9, reference_slip=True),
                lr=0.025,
            ),
        ),
        (
            'mlkd',
            'resnet32x4_shufflenet-v1',
            dict(lr=0.01, max_epochs=960),
        ),
        (
            'kd',
            'resnet50_mobilenet-v2',
            dict(ce=0.1, lr=0.01, max_epochs=240),
        ),
        ('dist', 'vgg13_vgg8', dict(ce=1.0, DISTLoss=dict(loss_weight=2))),
        ('rank', 'vgg13_vgg8', dict(ce=0.1)),
    ],
)
def test_recipes_of_cifar(method, pair, expected):
    cfg = compose(read_cells('cifar100'), pair, method)
    head = cfg.model.student.head
    for key, value in expected.items():
        if key == 'ce':
            assert (
                head.get('loss', dict(loss_weight=1.0))['loss_weight'] == value
            )
        elif key == 'lr':
            assert cfg.optim_wrapper.optimizer.lr == value
        elif key == 'max_epochs':
            assert cfg.train_cfg.max_epochs == value
        else:
            (loss,) = [
                x for x in cfg.model.losses if x['type'].endswith('.' + key)
            ]
            for name, number in value.items():
                assert loss[name] == number
    assert cfg.param_scheduler[0].milestones == [150, 180, 210]
    assert cfg.optim_wrapper.optimizer.weight_decay == 5e-4
    two_views = cfg.train_dataloader.dataset.pipeline[0]['type'].endswith(
        'TwoViews'
    )
    assert two_views == method.startswith('mlkd')


def test_cells_say_which_mlkd_they_train():
    """That of the published code for its numbers, the formula in the demo."""
    found = {
        (name, loss['reference_slip'])
        for name in cell_sets()
        for method in read_cells(name).methods.values()
        for loss in method['losses']
        if loss['type'] == 'mmdet_rankkd.MLKDLoss'
    }
    assert found == {
        ('cifar100', True),
        ('cifar100_compiled', True),
        ('digits_cls', False),
    }
    # And so do the tables, and with them their pages.
    slips = dict(found)
    for name in ('table1', 'table2', 'demo_cls'):
        table = read_table(name)
        slip = slips[table.cells.name]
        assert f'`reference_slip={slip}`' in table.note
    tables = [read_table(name) for name in NAMES]
    rows = [row for table in tables for row in table.rows.values()]
    assert all('MLKDLoss' not in row.set for row in rows)
    assert {
        t.name
        for t in tables
        if any((r.method or '').startswith('mlkd') for r in t.rows.values())
    } == {'table1', 'table2', 'demo_cls'}


def test_recipe_of_the_transformers():
    cells = read_cells('cifar100_vit')
    cfg = compose(cells, 'resnet56_deit-tiny', 'kd+rank')
    weights = [x['loss_weight'] for x in cfg.model.losses]
    assert weights == [1.0, 0.5]
    assert cfg.model.teacher.input_size == 32
    assert cfg.train_dataloader.batch_size == 128
    model = build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    plain = {id(g['params'][0]): g['weight_decay'] for g in groups}
    for name, parameter in model.named_parameters():
        decay = plain[id(parameter)]
        if name.endswith(('cls_token', 'pos_embed', 'bias')) or 'norm' in name:
            assert decay == 0, name
        else:
            assert decay == 0.05, name


def test_settings_of_losses_and_others(tmp_path):
    losses = parse_losses(['KendallRankLoss.k=2', 'KLDivLoss.x=a.b'])
    assert losses == dict(KendallRankLoss=dict(k=2), KLDivLoss=dict(x='a.b'))
    cells, pair = read_cells('cifar100'), 'vgg13_vgg8'
    options = {
        'train_cfg.max_epochs': 20,
        'model.losses.0.schedule': dict(end=10),
        'randomness.deterministic': True,
    }
    cfg = compose(
        cells, pair, 'kd+rank', dict(KendallRankLoss=dict(k=2)), options
    )
    assert cfg.model.losses[1].k == 2
    assert cfg.model.losses[0].schedule == dict(end=10)
    assert cfg.model.losses[0].temperature == 4
    assert cfg.train_cfg.max_epochs == 20
    # Facts are copied, not changed.
    plain = compose(cells, pair, 'kd+rank')
    assert 'k' not in plain.model.losses[1]
    assert plain.train_cfg.max_epochs == 240
    path = write_config(tmp_path / 'a.py', cfg)
    assert Config.fromfile(path).to_dict() == cfg.to_dict()
    assert write_config(path, cfg) == path
    with pytest.raises(FileExistsError, match='another config'):
        write_config(path, plain)


def test_settings_that_name_nothing():
    cells, pair = read_cells('cifar100'), 'vgg13_vgg8'
    with pytest.raises(ValueError, match='no set of cells'):
        read_cells('cifar10')
    for arguments, match in (
        (('vgg13_vgg9', 'kd'), "no pair 'vgg13_vgg9'"),
        ((pair, 'rkd'), "no method 'rkd'"),
        ((pair, 'kd+rkd'), "no method 'rkd'"),
        ((pair, 'kd+mlkd'), "'mlkd' wants more.*only come first"),
        ((pair, 'rank+rank'), 'no entry in rank of'),
        ((pair, 'kd', dict(DKDLoss=dict(k=1))), 'no DKDLoss'),
        ((pair, 'kd', {}, {'train_datalaoder.x': 1}), "'train_datalaoder'"),
        ((pair, 'kd', {}, {'model.losses.1.k': 1}), 'do not fit'),
    ):
        with pytest.raises(ValueError, match=match):
            compose(cells, *arguments)
    for bad in ('k=2', 'KLDivLoss.k', '.k=2'):
        with pytest.raises(ValueError, match='LOSS.KEY=VALUE'):
            parse_losses([bad])


def test_several_methods_in_one_training():
    """As the pair wants each, with the ranking beside the first."""
    cells = read_cells('digits')

    def types(pair, method):
        losses = compose(cells, pair, method).model.losses
        return [x['type'].partition('.')[2] for x in losses]

    for method in ('pkd+kd', 'pkd+kd+rank'):
        losses = compose(cells, 'gfl', method).model.losses
        alone = [compose(cells, 'gfl', x).model.losses for x in ('pkd', 'kd')]
        assert losses[:2] == [*alone[0], *alone[1]]
    assert types('gfl', 'pkd+kd+rank')[1:] == [
        'BinaryKLDivLoss',
        'KendallRankLoss',
    ]
    assert types('faster-rcnn', 'dkd+pkd') == ['DKDLoss', 'PKDLoss']
    with pytest.raises(ValueError, match="'ld' does not apply to fcos"):
        compose(cells, 'fcos', 'pkd+ld')
    cells = read_cells('cifar100')
    cfg = compose(cells, 'vgg13_vgg8', 'mlkd+at')
    assert cfg.model.losses[-1]['type'] == 'mmdet_rankkd.ATLoss'
    assert cfg.train_dataloader.dataset.pipeline == cfg.two_views_pipeline


SET = """
task = 'classification'
student = 'mmdet_rankkd::cifar100/{}_cifar100.py'
teacher = dict(config='', checkpoint='{}.pth')
methods = dict(mine=dict(ce=0.5, losses=[dict(type='x.KLDivLoss')]))
rank = dict()
pairs = {'vgg13_vgg8': {'mine': dict(lr=1.0)}}
"""


def test_a_set_in_a_file(tmp_path):
    path = tmp_path / 'own.py'
    path.write_text(SET)
    cells = read_cells(str(path))
    assert cells.name == 'own'
    assert cells.kind is TASKS['classification']
    assert cells.teacher_of('vgg13_vgg8')['checkpoint'] == 'vgg13.pth'
    assert cells.method('vgg13_vgg8', 'mine').lr == 1.0


@pytest.mark.parametrize(
    'old, new, match',
    [
        ("task = 'classification'", '', 'lacks task'),
        ("'classification'", "'segmentation'", "no task 'segmentation'"),
        ('rank =', 'ranks =', "'ranks', which nothing reads"),
        ("'mine'", "'yours'", "no method 'yours'"),
        ('ce=0.5', 'cee=0.5', "'cee', which nothing reads"),
    ],
)
def test_bad_sets(old, new, match, tmp_path):
    path = tmp_path / 'own.py'
    path.write_text(SET.replace(old, new))
    with pytest.raises(ValueError, match=match):
        read_cells(str(path)).method('vgg13_vgg8', 'mine')


def test_names_fit_into_file_names():
    assert (
        cell_name('a_b', 'kd+rank', dict(KendallRankLoss=dict(k=2.0)))
        == 'kd-rank_a_b_KendallRankLoss-k-2p0'
    )
    names = [
        cell_name('a_b', 'kd', {}, {'model.losses': value})
        for value in ([dict(k=1)], [dict(k='1')], list(range(300)))
    ]
    assert len(set(names)) == 3
    for name in names:
        assert len(name) < 140 and name.replace('-', '').isidentifier()


def test_options_of_a_set(tmp_path):
    """A shortened schedule is a set of its own, on the same facts."""
    path = tmp_path / 'short.py'
    base = ROOT / 'configs/_base_/cells/cifar100.py'
    path.write_text(
        f"_base_ = {str(base)!r}\noptions = {{'train_cfg.max_epochs': 15}}\n"
        "pairs = {'vgg13_vgg8': dict(options={'log_level': 'DEBUG'})}\n"
    )
    cfg = compose(read_cells(str(path)), 'vgg13_vgg8', 'kd')
    assert cfg.train_cfg.max_epochs == 15 and cfg.log_level == 'DEBUG'
    assert cfg.model.losses[0].temperature == 4


def test_merge_options_takes_what_the_runner_takes():
    cfg = Config(dict(a=dict(b=1)))
    options = {'a.b': 2, 'auto_scale_lr.enable': True, 'compile': True}
    merge_options(cfg, options)
    assert cfg.a.b == 2 and cfg.auto_scale_lr.enable and cfg.compile
    with pytest.raises(ValueError, match="no 'c'"):
        merge_options(cfg, {'c.d': 1})


def test_one_loss_config_everywhere(project):
    """The same dict in a detector's config and in a classifier's."""
    loss = dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=0.9, k=2.0)
    detector = Config.fromfile(project / 'distill.py').model
    detector.losses = [loss]
    cells = read_cells('cifar100')
    cfg = compose(cells, 'resnet32x4_resnet8x4', 'kd').model
    cfg.losses = [loss]
    losses = [build(x).losses['loss_rank'] for x in (detector, cfg)]
    student, teacher = torch.randn(2, 4, 100)
    values = [x(student, teacher) for x in losses]
    assert values[0] == values[1]
