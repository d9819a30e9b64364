"""Every cell of every classification table is read, dumped and built."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.analysis.cells import (
    cell_name,
    cell_sets,
    cell_text,
    parse_overrides,
    read_cells,
    write_cell,
)
from mmdet_rankkd.analysis.sweep import SWEEPS, plan, read_sweep
from mmdet_rankkd.distillers import DistillClassifier

from ..helpers import build

# All trainings of Tables 1 to 4 and 6 to 13, and every method of every pair.
TABLES = sorted(p.stem for p in SWEEPS.glob('*.py'))


def all_cells():
    found = {}
    for name in TABLES:
        sweep = read_sweep(name)
        for cell in plan(sweep):
            found[f'{sweep["cells"]}-{cell.name}'] = cell.text
    for name in cell_sets():
        cells = read_cells(name)
        for pair in cells['pairs']:
            for method in cells['methods']:
                methods = [method]
                if method in cells['rank']:
                    methods.append(method + '+rank')
                for each in methods:
                    text = cell_text(name, pair, each)
                    found.setdefault(f'{name}-{cell_name(pair, each)}', text)
    return found


CELLS = all_cells()
_students = {}


def test_there_are_all_tables():
    assert (
        sorted(['demo_cls', *(f'table{i}' for i in range(1, 14) if i != 5)])
        == TABLES
    )
    assert len(CELLS) > 300


def student_of(config):
    """Networks take longer to build than the rest: one of each is enough."""
    key = json.dumps(config.to_dict())
    if key not in _students:
        _students[key] = build(Config(dict(model=config)).model)
    return _students[key]


@pytest.mark.parametrize('name', sorted(CELLS))
def test_read_dump_and_build(name, tmp_path):
    path = tmp_path / 'cell.py'
    path.write_text(CELLS[name])
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / 'dumped.json')
    again = Config.fromfile(tmp_path / 'dumped.json').to_dict()
    assert again == json.loads(json.dumps(cfg.to_dict()))
    student = Config(dict(cfg.model.get('student', cfg.model)))
    model = student_of(student)
    assert type(model).__name__ == 'ImageClassifier'
    if '-alone_' in name:
        return
    config = cfg.model.copy()
    config.student = model
    distiller = build(config)
    assert isinstance(distiller, DistillClassifier)
    types = [loss['type'] for loss in cfg.model.losses]
    ranks = 'mmdet_rankkd.KendallRankLoss' in types
    assert ranks == ('rank_' in name)
    assert len(distiller.losses) == len(types)
    assert Path(cfg.model.teacher.config).is_file()


@pytest.mark.parametrize('method', ['kd+rank', 'mlkd', 'ctkd'])
def test_dump_as_python(method, tmp_path):
    path = tmp_path / 'cell.py'
    path.write_text(cell_text('cifar100', 'vgg13_mobilenet-v2', method))
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


def test_names_tell_cells_apart():
    for name in TABLES:
        cells = plan(read_sweep(name))
        assert len({c.text for c in cells}) == len(cells)


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
def test_recipes_of_cifar(method, pair, expected, tmp_path):
    path = tmp_path / 'cell.py'
    path.write_text(cell_text('cifar100', pair, method))
    cfg = Config.fromfile(path)
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
    found = set()
    for name, text in CELLS.items():
        cells = name.split('-')[0]
        for loss in Config.fromstring(text, '.py').model.get('losses', []):
            if loss['type'] == 'mmdet_rankkd.MLKDLoss':
                found.add((cells, loss['reference_slip']))
    assert found == {('cifar100', True), ('digits_cls', False)}


def test_recipe_of_the_transformers(tmp_path):
    path = tmp_path / 'cell.py'
    path.write_text(cell_text('cifar100_vit', 'resnet56_deit-tiny', 'kd+rank'))
    cfg = Config.fromfile(path)
    weights = [x['loss_weight'] for x in cfg.model.losses]
    assert weights == [1.0, 0.5]
    assert cfg.model.teacher.input_size == 32
    assert cfg.train_dataloader.batch_size == 128
    from mmengine.optim import build_optim_wrapper

    model = build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    plain = {id(g['params'][0]): g['weight_decay'] for g in groups}
    for name, parameter in model.named_parameters():
        decay = plain[id(parameter)]
        if name.endswith(('cls_token', 'pos_embed', 'bias')) or 'norm' in name:
            assert decay == 0, name
        else:
            assert decay == 0.05, name


def test_overrides_and_errors(tmp_path):
    overrides = parse_overrides(['KendallRankLoss.k=2', 'KLDivLoss.x=a.b'])
    assert overrides == dict(
        KendallRankLoss=dict(k=2), KLDivLoss=dict(x='a.b')
    )
    pair = 'vgg13_vgg8'
    text = cell_text(
        'cifar100', pair, 'kd+rank', dict(KendallRankLoss=dict(k=2))
    )
    path = write_cell(tmp_path / 'a.py', text)
    assert Config.fromfile(path).model.losses[1].k == 2
    assert write_cell(path, text) == path
    with pytest.raises(FileExistsError, match='another config'):
        write_cell(path, text + '#')
    for arguments, match in (
        (('cifar10', pair, 'kd'), 'no set of cells'),
        (('cifar100', 'vgg13_vgg9', 'kd'), "no pair 'vgg13_vgg9'"),
        (('cifar100', pair, 'rkd'), "no method 'rkd'"),
        (('cifar100', pair, 'kd+at'), r'\+rank'),
        (('cifar100', pair, 'rank+rank'), 'ranking weight'),
        (('cifar100', pair, 'kd', dict(DKDLoss=dict(k=1))), 'no DKDLoss'),
    ):
        with pytest.raises(ValueError, match=match):
            cell_text(*arguments)
    for bad in ('k=2', 'KLDivLoss.k', '.k=2'):
        with pytest.raises(ValueError, match='LOSS.KEY=VALUE'):
            parse_overrides([bad])


def test_one_loss_config_everywhere(project):
    """The same dict in a detector's config and in a classifier's."""
    loss = dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=0.9, k=2.0)
    detector = Config.fromfile(project / 'distill.py').model
    detector.losses = [loss]
    cfg = Config.fromstring(
        cell_text('cifar100', 'resnet32x4_resnet8x4', 'kd'), '.py'
    ).model
    cfg.losses = [loss]
    ours = [build(x).losses['loss_rank'] for x in (detector, cfg)]
    student, teacher = torch.randn(2, 4, 100)
    values = [x(student, teacher) for x in ours]
    assert values[0] == values[1]
