"""Every pair of networks of the classification tables trains two steps."""

import cv2
import numpy as np
import pytest
import torch

from mmdet_rankkd.experiments.cells import compose, read_cells

from ..helpers import make_runner, save_teacher, small_cls

SETS = ('cifar100', 'cifar100_vit', 'imagenet')
PAIRS = [(name, pair) for name in SETS for pair in read_cells(name).pairs]


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory):
    """Random images in two folders of classes."""
    root = tmp_path_factory.mktemp('imagenet')
    rng = np.random.RandomState(0)
    for i in range(4):
        path = root / f'train/n{i % 2:08d}/{i}.JPEG'
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.randint(0, 256, (60, 80, 3), np.uint8)
        path.write_bytes(cv2.imencode('.jpg', pixels)[1].tobytes())
    return root


@pytest.fixture(scope='module')
def teachers(tmp_path_factory):
    """Function of a config file: its network's random weights, kept."""
    folder = tmp_path_factory.mktemp('teachers')

    def make(config):
        path = folder / f'{abs(hash(config))}.pth'
        if not path.exists():
            save_teacher(config, path, epoch=1)
        return str(path)

    return make


@pytest.mark.parametrize('name, pair', PAIRS, ids=lambda x: x)
def test_two_steps(name, pair, cifar, imagenet, teachers, tmp_path):
    method = 'nkd+rank' if pair == 'resnet34_resnet18' else 'kd+rank'
    cfg = compose(read_cells(name), pair, method)
    if name == 'imagenet':
        small_cls(cfg, batch_size=2)
        cfg.train_dataloader.dataset.data_root = str(imagenet)
    else:
        small_cls(cfg, cifar, batch_size=2)
    cfg.train_dataloader.drop_last = False
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint = None
    cfg.work_dir = str(tmp_path)
    cfg.model.teacher.checkpoint = teachers(cfg.model.teacher.config)
    runner = make_runner(cfg)
    before = {
        k: v.detach().clone() for k, v in runner.model.named_parameters()
    }
    runner.train()
    assert runner.iter == 2
    unmoved = [
        k
        for k, v in runner.model.named_parameters()
        if v.requires_grad and torch.equal(v, before[k])
    ]
    if 'distilled' in pair:  # its heads start at zero, and stop gradients
        assert 'student.head.fc_dist.weight' not in unmoved
    else:
        assert unmoved == []
    assert all(v.isfinite().all() for v in runner.model.parameters())
    scalars = runner.message_hub.log_scalars
    assert {'train/loss_rank', 'train/kendall_tau'} <= set(scalars)
