"""`rankkd distill` and `rankkd doctor` as a user calls them."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from ..programs import tool
from .test_main import rankkd


@pytest.fixture
def folder(project, tmp_path, monkeypatch):
    """A user's folder; the current one."""
    for name in ('student.py', 'teacher.py', 'teacher.pth'):
        shutil.copy(project / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FILES = ('student.py', 'teacher.py', 'teacher.pth')


def test_a_config_is_written_and_the_doctor_asked(folder):
    text = rankkd('distill', *FILES, '--images', '0', status=1)
    config = folder / 'distill_student.py'
    assert config.read_text() in text
    assert 'features by CWD and logits by KD, together' in text
    # The set is of six images and the rate of sixteen.
    assert '✗ learning rate' in text and '✓ weights 0' in text
    assert 'rankkd doctor distill_student.py' in text
    model = Config.fromfile(config).model
    assert model.teacher == dict(config='teacher.py', checkpoint='teacher.pth')
    text = rankkd('distill', *FILES, status=1)
    assert 'distill_student.py exists' in text and '--force' in text


def test_a_training_of_what_was_written(folder, monkeypatch):
    """Nothing stands between the two configs and a trained student."""

    def run(words):
        assert words[:4] == [sys.executable, '-m', 'mmdet_rankkd', 'train']
        return tool('train', *words[4:])

    monkeypatch.setattr(
        'mmdet_rankkd.cli.distill.subprocess', SimpleNamespace(run=run)
    )
    with open('student.py', 'a') as file:
        file.write('auto_scale_lr = dict(base_batch_size=2)\n')
    rankkd(
        'distill',
        *FILES,
        '--out',
        'mine.py',
        '--images',
        '0',
        '--train',
        '--work-dir',
        'work',
    )
    assert (folder / 'work/epoch_1.pth').is_file()


def test_without_the_doctor(folder):
    text = rankkd(
        'distill', *FILES, '--no-doctor', '--losses', 'KLDivLoss', 'PKDLoss'
    )
    assert text.endswith('to train: rankkd train distill_student.py\n')
    losses = Config.fromfile('distill_student.py').model.losses
    assert [x.type for x in losses] == [
        'mmdet_rankkd.KLDivLoss',
        'mmdet_rankkd.PKDLoss',
    ]


def test_mistakes(folder):
    text = rankkd('distill', *FILES, '--method', 'kdd', status=1)
    assert "no method 'kdd'" in text
    text = rankkd('distill', *FILES, '--losses', 'KLLoss', status=1)
    assert 'KLDivLoss' in text
    text = rankkd('doctor', 'student.py', status=1)
    assert 'rankkd distill' in text
    assert not (folder / 'distill_student.py').exists()


def test_doctor_for_scripts(project, folder):
    options = ['auto_scale_lr.base_batch_size=2', 'train_cfg.max_epochs=2']
    args = ('doctor', project / 'distill.py', '--images', 0, '--batches', 1)
    text = rankkd(*args, '--json', '--cfg-options', *options)
    found = json.loads(text[text.index('[') :])
    assert {x['state'] for x in found} == {'ok', 'note'}
    (cost,) = [x for x in found if x['name'] == 'cost']
    assert cost['facts']['iterations'] == 6
    text = rankkd(*args, status=1)
    assert '✗ learning rate' in text and text.endswith('1 to mend\n')
