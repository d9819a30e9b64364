"""Every method of detectors on the digits: two iterations, side by side."""

import pytest
import torch

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.datasets import digits
from mmdet_rankkd.experiments.cells import compose, read_cells
from mmdet_rankkd.experiments.table import read_table

from ..helpers import build, make_runner, save_teacher

CELLS = read_cells('digits')
NAMES = {
    'pkd': 'loss_pkd',
    'cwd': 'loss_cwd',
    'mgd': 'loss_mgd',
    'fgd': 'loss_fgd',
    'ld': 'loss_ld',
    'crosskd': 'loss_crosskd',
}


def methods_of(pair):
    """Those that apply to a pair."""
    only = {n: CELLS.methods[n].get('only') for n in NAMES}
    return [n for n, pairs in only.items() if pairs is None or pair in pairs]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """The digits set with a few images."""
    folder = tmp_path_factory.mktemp('data') / 'digits'
    digits.make_digits(folder, dict(train=8, val=2))
    return folder


def composed(pair, methods, root, tmp_path, width=None):
    """One training with the losses of all methods; two iterations."""
    cfg = compose(CELLS, pair, 'kd+rank')
    for method in methods:
        cfg.model.losses += compose(CELLS, pair, method).model.losses
    teacher = load_config(CELLS.teacher_of(pair)['config'])
    if width:
        teacher.model.bbox_head.feat_channels = width
    teacher.dump(tmp_path / 'teacher.py')
    save_teacher(tmp_path / 'teacher.py', tmp_path / 'teacher.pth')
    cfg.model.teacher = dict(
        config=str(tmp_path / 'teacher.py'),
        checkpoint=str(tmp_path / 'teacher.pth'),
        check_classes=False,
    )
    loader = cfg.train_dataloader
    loader.update(batch_size=4, num_workers=0, persistent_workers=False)
    loader.dataset.update(data_root=str(root), indices=8)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.custom_hooks = []
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir, cfg.log_level = str(tmp_path / 'work'), 'WARNING'
    return cfg


@pytest.mark.parametrize('pair', CELLS.pairs)
def test_two_iterations(pair, root, tmp_path):
    """All in one training, each with a loss that counts and learns."""
    cfg = composed(pair, methods_of(pair), root, tmp_path)
    cfg.default_hooks.checkpoint = None
    runner = make_runner(cfg)
    learnt = dict(runner.model.losses.named_parameters())
    before = {k: v.detach().clone() for k, v in learnt.items()}
    runner.train()
    assert runner.iter == 2
    scalars = runner.message_hub.log_scalars
    for method in methods_of(pair):
        values, _ = scalars[f'train/{NAMES[method]}'].data
        assert len(values) == 2 and all(0 < v < 1e3 for v in values), method
        own = [k for k in learnt if k.startswith(f'{NAMES[method]}.')]
        moved = [not torch.equal(learnt[k], before[k]) for k in own]
        assert any(moved) or not own, method
    assert all(p.isfinite().all() for p in runner.model.parameters())


def test_resumed_and_exported(root, tmp_path):
    """What is learnt goes on in a second epoch; the student's file is plain.

    The teacher's towers are narrower, so that CrossKD learns too.
    """
    methods = methods_of('gfl')
    cfg = composed('gfl', methods, root, tmp_path, width=32)
    runner = make_runner(cfg)
    runner.train()
    learnt = runner.model.losses.state_dict()
    assert {f'loss_crosskd.adapters.{i}.bias' for i in (0, 1)} <= set(learnt)
    path = tmp_path / 'work/epoch_1.pth'
    saved = read_checkpoint(str(path))['state_dict']
    kept = {k for k in saved if k.startswith('distiller.')}
    assert kept == {f'distiller.{k}' for k in learnt}
    export_student(str(path), str(tmp_path / 'student.pth'))
    plain = build(cfg.model.student)
    weights = torch.load(tmp_path / 'student.pth', weights_only=True)
    plain.load_state_dict(weights['state_dict'], strict=True)
    cfg.load_from, cfg.resume = str(path), True
    cfg.train_cfg.max_epochs = 2
    again = make_runner(cfg)
    again.load_or_resume()
    for key, value in again.model.losses.state_dict().items():
        assert torch.equal(value, learnt[key]), key
    again.train()
    assert again.iter == 4
    for key, value in again.model.losses.named_parameters():
        assert value.isfinite().all(), key


@pytest.mark.parametrize('pair', CELLS.pairs)
def test_rows_of_the_demo(pair):
    """Each method that applies, alone and with ranking; no other."""
    table = read_table(f'demo_{pair}')
    found = {row.method for row in table.rows.values()}
    expected = set(methods_of(pair))
    assert found & set(NAMES) == expected
    assert {f'{m}+rank' for m in expected} <= found
    for method in set(NAMES) - expected:
        with pytest.raises(ValueError, match=f'does not apply to {pair}'):
            compose(CELLS, pair, method)


def test_where_they_apply():
    assert 'ld' in methods_of('gfl') and 'ld' not in methods_of('atss')
    assert 'crosskd' not in methods_of('faster-rcnn')
    assert len(methods_of('gfl')) == 6 and len(methods_of('rtmdet')) == 5
