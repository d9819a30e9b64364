"""The documented commands of classification, in processes of their own."""

import json
import subprocess
import sys

import pytest

from ..helpers import ROOT

SMALL = [
    '--cfg-options',
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.count=64',
    'val_dataloader.dataset.count=40',
    'test_dataloader.dataset.count=40',
]


def tool(name, *arguments, check=True):
    return subprocess.run(
        [sys.executable, str(ROOT / f'tools/{name}.py'), *arguments],
        capture_output=True,
        text=True,
        check=check,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Config and checkpoint of a cell, by the README's command."""
    folder = tmp_path_factory.mktemp('cell')
    made = tool(
        'make_config',
        'digits_cls',
        'resnet14x2_resnet8',
        'kd+rank',
        '--set-loss',
        'KendallRankLoss.k=2',
        '--out',
        str(folder / 'cell.py'),
    )
    # Nothing else on standard output: it is an argument of the next command.
    assert made.stdout == f'{folder / "cell.py"}\n'
    tool('train', made.stdout.strip(), '--work-dir', str(folder), *SMALL)
    return folder / 'cell.py', folder / 'epoch_1.pth'


def test_test_and_export(trained, tmp_path):
    config, checkpoint = trained
    student = str(ROOT / 'configs/digits_cls/resnet8_digits-cls.py')
    out = tmp_path / 'student.pth'
    tool('export_student', str(checkpoint), str(out))
    found = []
    for each in (str(checkpoint), str(out)):
        folder = tmp_path / f'test{len(found)}'
        tool(
            'test',
            student,
            each,
            '--work-dir',
            str(folder),
            *SMALL[:1],
            *SMALL[-1:],
        )
        (file,) = folder.glob('*/*.json')
        found.append(json.loads(file.read_text())['accuracy/top5'])
    assert found[0] == found[1]


def test_check_teacher(trained):
    output = tool('check_teacher', str(trained[0])).stdout
    assert 'accuracy/top1' in output and '701152' in output


def test_mistakes_are_told(tmp_path):
    failed = tool('make_config', 'cifar100', 'vgg13_vgg9', 'kd', check=False)
    assert failed.returncode and 'vgg13_vgg8' in failed.stderr
    failed = tool('sweep', 'table99', check=False)
    assert failed.returncode and 'table12' in failed.stdout + failed.stderr
    failed = tool(
        'convert_checkpoint', 'none.pth', 'x.py', 'y.pth', check=False
    )
    assert failed.returncode and "'none.pth' does not exist" in failed.stderr
