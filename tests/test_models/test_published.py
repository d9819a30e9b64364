"""A network of another project: its published weights and accuracy."""

import os
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet_rankkd.checkpoint.convert import convert_checkpoint

from ..helpers import COCO_SAMPLE, ROOT, make_runner

#: ResNet-56 of chenyaofo/pytorch-cifar-models: top-1 72.63, top-5 91.94.
PUBLISHED = Path(
    os.environ.get(
        'CIFAR100_RESNET56',
        COCO_SAMPLE.parent / 'cifar100_resnet56-f2eff4c8.pt',
    )
)
#: Folder of CIFAR-100, in any form that the data set reads.
DATA = os.environ.get('CIFAR100')
CONFIG = ROOT / 'configs/cifar100/resnet56_cifar100.py'


@pytest.fixture
def converted(tmp_path):
    if not PUBLISHED.is_file():
        pytest.skip(f'{PUBLISHED.name} is not there: set CIFAR100_RESNET56')
    out = tmp_path / 'resnet56.pth'
    facts = convert_checkpoint(str(PUBLISHED), str(CONFIG), str(out))
    assert facts['parameters'] == 861620
    return out


def test_every_weight_finds_its_place(converted):
    assert converted.is_file()


def test_accuracy_is_the_published_one(converted, tmp_path):
    if DATA is None:
        pytest.skip('CIFAR-100 is not there: set CIFAR100 to its folder')
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(
        dict(
            work_dir=str(tmp_path),
            load_from=str(converted),
            test_dataloader=dict(
                num_workers=0,
                persistent_workers=False,
                dataset=dict(data_root=DATA, md5=False),
            ),
        )
    )
    metrics = make_runner(cfg).test()
    # Its mean and standard deviation of the pixels are a little different.
    assert metrics['accuracy/top1'] == pytest.approx(72.63, abs=0.05)
    assert metrics['accuracy/top5'] == pytest.approx(91.94, abs=0.05)
