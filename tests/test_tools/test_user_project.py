"""A user's 15-line config: train, resume, test, export, by the tools.

Training and test start Python as a user does; the rest runs in processes that
have the stack imported.
"""

import subprocess
import sys

import pytest

from mmdet_rankkd.checkpoint.read import read_checkpoint

from ..helpers import ROOT, USER_DISTILL, rankkd
from ..programs import tool


def started(name, *args, cwd):
    """Run a script of `tools/` in a new Python."""
    done = subprocess.run(
        [sys.executable, str(ROOT / f'tools/{name}.py'), *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def test_the_config_has_at_most_15_lines():
    lines = USER_DISTILL.strip().splitlines()
    assert lines[0].startswith('_base_')
    assert len(lines) - 1 <= 15


@pytest.fixture(scope='module')
def trained(project, tmp_path_factory):
    """Folder in which the user has trained for one epoch."""
    folder = tmp_path_factory.mktemp('user')
    done = started(
        'train',
        project / 'distill.py',
        '--work-dir',
        folder / 'work',
        '--cfg-options',
        'log_level=INFO',
        cwd=folder,
    )
    (folder / 'stdout.txt').write_text(done.stdout)
    (folder / 'stderr.txt').write_text(done.stderr)
    return folder


def test_the_log_comes_first(trained):
    """Nothing of what the stack says about itself is before it."""
    assert (
        ' - mmengine - INFO - '
        in ((trained / 'stdout.txt').read_text().splitlines()[0])
    )
    assert (trained / 'stderr.txt').read_text() == ''


def test_log_shows_every_loss_and_tau(trained):
    (log,) = (trained / 'work').glob('*/*.log')
    text = log.read_text()
    for name in ('loss_kd', 'loss_rank', 'kendall_tau', 'loss_rpn_cls'):
        assert f'{name}: ' in text


def test_resume(trained, project):
    tool(
        'train',
        project / 'distill.py',
        '--work-dir',
        trained / 'work',
        '--resume',
        '--cfg-options',
        'train_cfg.max_epochs=2',
        'log_level=INFO',
        cwd=trained,
    )
    assert (trained / 'work/epoch_2.pth').is_file()
    logs = ''.join(p.read_text() for p in (trained / 'work').glob('*/*.log'))
    assert 'Auto resumed from' in logs and 'resumed epoch: 1' in logs
    saved = read_checkpoint(str(trained / 'work/epoch_2.pth'))
    assert saved['meta']['epoch'] == 2


def precisions(trained, config, checkpoint, run=tool):
    """What the test of a checkpoint prints of AP; its detections in out.pkl"""
    done = run(
        'test',
        config,
        checkpoint,
        '--work-dir',
        trained / config.name,
        '--out',
        trained / 'out.pkl',
        cwd=trained,
    )
    lines = [x for x in done.stdout.splitlines() if 'Average Precision' in x]
    assert len(lines) == 6
    return lines


@pytest.fixture(scope='module')
def plainly_tested(trained, project):
    """AP of the checkpoint with the plain student's config."""
    config = project / 'student.py'
    return precisions(trained, config, trained / 'work/epoch_1.pth', started)


def test_both_configs_give_the_same_ap(trained, project, plainly_tested):
    (trained / 'out.pkl').unlink()
    distilled = precisions(
        trained, project / 'distill.py', trained / 'work/epoch_1.pth'
    )
    assert distilled == plainly_tested
    assert (trained / 'out.pkl').is_file()


def test_export_and_test_the_export(trained, project, plainly_tested):
    tool(
        'export_student',
        trained / 'work/epoch_1.pth',
        trained / 'student.pth',
        cwd=trained,
    )
    exported = precisions(
        trained, project / 'student.py', trained / 'student.pth'
    )
    assert exported == plainly_tested


def test_check_teacher(trained, project):
    done = tool(
        'check_teacher', project / 'distill.py', '--min-ap', 0, cwd=trained
    )
    assert 'all 348 found' in done.stdout
    assert 'coco/bbox_mAP' in done.stdout
    # A randomly initialised teacher has nothing to teach.
    done = tool(
        'check_teacher',
        project / 'distill.py',
        '--min-ap',
        0.5,
        cwd=trained,
        status=1,
    )
    assert 'nothing to teach' in done.stderr


def test_check_of_a_teacher_that_is_not_there(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = 'model.teacher.checkpoint=none.pth'
    config = project / 'distill.py'
    text = rankkd('check', config, '--cfg-options', missing, status=1)
    assert 'does not exist' in text


def test_flags(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = project / 'distill.py'
    flags = ('--auto-scale-lr', '--amp', '--local-rank=0')
    options = ('--cfg-options', 'auto_scale_lr=None')
    text = rankkd('train', config, *flags, *options, status=1)
    assert 'base_batch_size' in text
    text = rankkd('test', config, 'x.pth', '--out', 'x.txt', status=1)
    assert '.pkl' in text


def test_test_time_augmentation(trained, project):
    done = tool(
        'test',
        project / 'student.py',
        trained / 'work/epoch_1.pth',
        '--tta',
        '--work-dir',
        trained / 'tta',
        cwd=trained,
    )
    assert 'Average Precision' in done.stdout
