"""The page on images without annotations: its commands and its settings."""

import shlex
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.checkpoint.build import load_config
from mmdet_rankkd.cli.main import main as rankkd
from mmdet_rankkd.datasets import make_digits

from .helpers import ROOT, make_runner
from .test_docs import blocks

PAGE = {
    title: code
    for _, title, code in blocks(ROOT / 'docs/unlabelled-images.md')
}
SHORT = [
    'train_cfg.max_epochs=1',
    'train_cfg.val_begin=2',
    'train_dataloader.batch_size=2',
    'train_dataloader.dataset.datasets.1.indices=2',
    'custom_hooks=[]',
    'log_level=WARNING',
]
#: Of the labelled images.
FEW = dict(
    pseudo=['train_dataloader.dataset.datasets.0.indices=2'],
    unlabelled=[
        'train_dataloader.dataset.datasets.0.times=1',
        'train_dataloader.dataset.datasets.0.dataset.indices=2',
    ],
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('digits')
    make_digits(path / 'data/digits', {'train': 6, 'val': 12})
    make_digits(path / 'data/digits_more', {'more': 6})
    return path


def test_the_digits(folder, monkeypatch):
    """Command by command, on few images."""
    monkeypatch.chdir(folder)
    lines = PAGE['digits'].splitlines()
    assert lines[0].startswith('python -c') and len(lines) == 4
    for line in lines[1:]:
        _, verb, *arguments = shlex.split(line)
        if verb == 'train':
            arguments[0] = str(ROOT / arguments[0])
            arguments += ['--work-dir', Path(arguments[0]).stem]
            few = FEW['unlabelled' if 'unlabelled' in line else 'pseudo']
            arguments += ['--cfg-options', *SHORT, *few]
        else:
            arguments += ['--workers', '0']
        rankkd([verb, *arguments], standalone_mode=False)
    names = set()
    for kind in ('pseudo', 'unlabelled'):
        (file,) = folder.glob(f'kd-{kind}*/epoch_1.pth')
        weights = torch.load(file, weights_only=True)['state_dict']
        assert all(v.isfinite().all() for v in weights.values())
        names.add(tuple(weights))
    assert len(names) == 1


CASES = ['labelled and annotated', 'unlabelled']


@pytest.mark.parametrize('case', CASES)
def test_settings_for_a_set_of_ones_own(
    case, project, distill_cfg, monkeypatch
):
    """With a sampler that gives each batch both kinds, where they differ."""
    monkeypatch.chdir(project)
    code = f"_base_ = '{project}/distill.py'\n" + PAGE[case]
    code = code.replace('data/parts/', 'data/')
    code = code.replace('images/more/', 'data/img/')
    code = code.replace('pseudo.json', 'data/train.json')
    cfg = Config.fromstring(code, '.py')
    if case == 'unlabelled':
        assert cfg.train_dataloader.batch_size == 16
        both = PAGE['both kinds in each batch'].replace('=16', '=4')
        cfg.merge_from_dict(dict(Config.fromstring(both, '.py')))
        cfg.merge_from_dict({'train_cfg.max_iters': 2})
    cfg.work_dir = distill_cfg.work_dir
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    runner = make_runner(cfg)
    seen = []
    forward = runner.model.forward

    def note(inputs, data_samples, mode, **kwargs):
        seen.append(['bboxes' in x.gt_instances for x in data_samples])
        return forward(inputs, data_samples, mode, **kwargs)

    monkeypatch.setattr(runner.model, 'forward', note)
    runner.train()
    assert len(seen) > 1
    if case == 'unlabelled':
        assert all(x == [True, True, False, False] for x in seen)
    else:
        assert all(all(x) for x in seen)
    losses = runner.message_hub.log_scalars
    assert {'train/loss_kd', 'train/loss_rank', 'train/loss_cls'} <= set(
        losses
    )


def test_configs_are_the_same_but_for_the_images():
    one, other = (
        load_config(str(path))
        for path in sorted((ROOT / 'configs/digits').glob('kd-*.py'))
    )
    assert other.model.pop('unlabelled') is True
    assert one.model == other.model
    # Eight labelled images a step, as without the others.
    size = other.train_dataloader.batch_size
    repeated, unlabelled = other.train_dataloader.dataset.datasets
    assert unlabelled.type == 'mmdet_rankkd.UnlabelledDataset'
    labelled = repeated.times * repeated.dataset.indices
    more = 1360
    assert size * labelled / (labelled + more) == pytest.approx(8, abs=0.2)
    assert other.auto_scale_lr.base_batch_size == size
    assert one.auto_scale_lr.base_batch_size == 8
