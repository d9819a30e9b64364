"""The documented commands of classification, in processes of their own."""

import json

import pytest

from ..helpers import ROOT
from ..programs import tool

SMALL = [
    '--cfg-options',
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.count=64',
    'val_dataloader.dataset.count=40',
    'test_dataloader.dataset.count=40',
]


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


@pytest.mark.parametrize(
    'words, said',
    [
        (['make_config', 'cifar100', 'vgg13_vgg9', 'kd'], 'vgg13_vgg8'),
        (['sweep', 'table99'], 'table12'),
        (
            ['convert_checkpoint', 'none.pth', 'x.py', 'y.pth'],
            "'none.pth' does not exist",
        ),
    ],
)
def test_mistakes_are_told(words, said):
    assert said in tool(*words, status=1).stderr
