"""A user's 15-line config: train, resume, test, export, by the tools."""

import os
import subprocess
import sys

import pytest

from mmdet_rankkd.checkpoint.read import read_checkpoint

from ..helpers import ROOT, USER_DISTILL

TOOLS = ROOT / 'tools'


def tool(name, *args, cwd, check=True):
    done = subprocess.run(
        [sys.executable, str(TOOLS / f'{name}.py'), *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )
    if check:
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
    done = tool(
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


def test_test_with_both_configs_gives_the_same_ap(trained, project):
    metrics = []
    for config in ('distill.py', 'student.py'):
        done = tool(
            'test',
            project / config,
            trained / 'work/epoch_1.pth',
            '--work-dir',
            trained / config,
            '--out',
            trained / 'out.pkl',
            cwd=trained,
        )
        lines = [
            x for x in done.stdout.splitlines() if 'Average Precision' in x
        ]
        assert len(lines) == 6
        metrics.append(lines)
        assert (trained / 'out.pkl').is_file()
    assert metrics[0] == metrics[1]


def test_export_and_test_the_export(trained, project):
    tool(
        'export_student',
        trained / 'work/epoch_1.pth',
        trained / 'student.pth',
        cwd=trained,
    )
    before = tool(
        'test',
        project / 'student.py',
        trained / 'work/epoch_1.pth',
        cwd=trained,
    ).stdout
    after = tool(
        'test', project / 'student.py', trained / 'student.pth', cwd=trained
    ).stdout

    def aps(text):
        return [x for x in text.splitlines() if 'Average' in x]

    assert aps(before) == aps(after)


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
        check=False,
    )
    assert done.returncode == 1
    assert 'nothing to teach' in done.stderr
    done = tool(
        'check_teacher',
        project / 'distill.py',
        '--cfg-options',
        'model.teacher.checkpoint=none.pth',
        cwd=trained,
        check=False,
    )
    assert done.returncode == 1 and 'does not exist' in done.stderr


def test_flags(trained, project):
    done = tool(
        'train',
        project / 'distill.py',
        '--auto-scale-lr',
        '--amp',
        '--local-rank=0',
        '--cfg-options',
        'auto_scale_lr=None',
        cwd=trained,
        check=False,
    )
    assert done.returncode and 'base_batch_size' in done.stderr
    done = tool(
        'test',
        project / 'distill.py',
        'x.pth',
        '--out',
        'x.txt',
        cwd=trained,
        check=False,
    )
    assert '.pkl' in done.stderr


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
