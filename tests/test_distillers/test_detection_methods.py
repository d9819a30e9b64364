"""Every detection method trains, resumes, tests and exports, for real."""

import pytest
import torch

from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.datasets import make_digits
from mmdet_rankkd.experiments.cells import compose, read_cells, read_config

from ..helpers import build, make_runner, raw_batch, save_teacher

CELLS = read_cells('digits')
DENSE = [d for d in CELLS.pairs if d != 'faster-rcnn']
FEATURES = ['ctkd', 'fitnet', 'fgfi', 'reviewkd']
WHOLE = [('faster-rcnn', m) for m in ['kd+rank', *FEATURES]] + [
    (d, 'kd+rank') for d in DENSE
]
SHORT = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.batch_size': 4,
    'train_dataloader.dataset.indices': 8,
    'default_hooks.logger.interval': 1,
    'custom_hooks': [],
    'load_from': None,
}


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    """Folder with a small digits set and random teachers."""
    folder = tmp_path_factory.mktemp('digits')
    make_digits(str(folder / 'data/digits'), dict(train=8, val=4))
    for name in CELLS.pairs:
        config = CELLS.teacher_of(name)['config']
        save_teacher(config, folder / f'{name}.pth')
    return folder


def composed(digits, detector, method, folder):
    cfg = compose(CELLS, detector, method)
    if method != 'alone':
        cfg.model.teacher.checkpoint = str(digits / f'{detector}.pth')
        # The random teacher has no class names of the digits.
        cfg.model.teacher.check_classes = False
    root = str(digits / 'data/digits') + '/'
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = root
    cfg.test_dataloader.dataset.data_root = root
    cfg.val_evaluator.ann_file = cfg.test_evaluator.ann_file = (
        root + 'val.json'
    )
    cfg.work_dir = str(folder / 'work')
    cfg.merge_from_dict(SHORT)
    return cfg


@pytest.mark.parametrize('detector, method', WHOLE)
def test_train_resume_test_export(detector, method, digits, tmp_path):
    cfg = composed(digits, detector, method, tmp_path)
    runner = make_runner(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    model = runner.model
    for name in model.losses:
        values = scalars[f'train/{name}'].data[0]
        assert len(values) == 2
        assert torch.tensor(values).isfinite().all()
    if detector == 'faster-rcnn' or 'fitnet' in method:
        assert (torch.tensor(scalars['train/kendall_tau'].data[0]) < 1).all()

    # Resumed, with all that the distiller learns.
    again = make_runner(cfg, resume=True, **{'train_cfg.max_epochs': 2})
    again.train()
    assert again.iter == 4
    learned = [k for k in model.state_dict() if k.startswith('distiller.')]
    parameters = [n for n, _ in model.losses.named_parameters()]
    assert bool(learned) >= bool(parameters)
    saved = torch.load(tmp_path / 'work/epoch_2.pth', weights_only=False)
    for key in learned:
        assert key in saved['state_dict']
    moved = [
        not torch.equal(before, after)
        for before, after in zip(
            model.losses.state_dict().values(),
            again.model.losses.state_dict().values(),
        )
    ]
    assert any(moved) == bool(moved)

    # A plain student's checkpoint, which the student's own config tests.
    out = tmp_path / 'student.pth'
    export_student(str(tmp_path / 'work/epoch_2.pth'), str(out))
    plain = composed(digits, detector, 'alone', tmp_path / 'plain')
    plain.load_from = str(out)
    tester = make_runner(plain)
    tester.test()
    weights = tester.model.state_dict()
    assert set(weights) == set(torch.load(out)['state_dict'])
    for key, value in again.model.student.state_dict().items():
        assert torch.equal(weights[key], value)


@pytest.mark.parametrize('detector', DENSE)
def test_other_methods_of_dense_detectors(detector, digits, tmp_path):
    cfg = composed(digits, detector, 'ctkd', tmp_path)
    methods = [m for m in FEATURES if m != 'fgfi']
    if detector not in CELLS.methods['fgfi']['only']:
        cfg.model.losses = CELLS.methods['fgfi']['losses']
        model = build(cfg.model).train()
        data = model.data_preprocessor(raw_batch(), True)
        with pytest.raises(TypeError, match='needs a detector with anchors'):
            model(**data, mode='loss')
    else:
        methods.append('fgfi')
    cfg.model.losses = [
        x for m in methods for x in CELLS.method(detector, m).losses
    ]
    model = build(cfg.model).train()
    data = model.data_preprocessor(raw_batch(), True)
    losses = model(**data, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert len(model.losses) == len(methods)
    for name in model.losses:
        assert losses[name].isfinite() and losses[name].requires_grad
    for name, parameter in model.losses.named_parameters():
        assert parameter.grad is not None, name


def test_composed_as_the_shipped_configs():
    for method, name in (
        ('kd', 'kd'),
        ('rank', 'rank'),
        ('kd+rank', 'rankkd'),
    ):
        ours = compose(CELLS, 'faster-rcnn', method)
        shipped = read_config(
            'mmdet_rankkd::digits/'
            f'{name}_r50-quarter_mobilenet-v2-half_digits.py'
        )
        assert ours.model == shipped.model
        assert ours.train_dataloader == shipped.train_dataloader
        assert ours.optim_wrapper == shipped.optim_wrapper
