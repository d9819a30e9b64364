"""The launchers hand their arguments on; `python` and `srun` are stand-ins."""

import os
import subprocess

import pytest

from ..helpers import ROOT

TOOLS = ROOT / 'tools'


@pytest.fixture
def launch(tmp_path):
    """Run a script and return the command that it would run."""
    for name in ('python', 'srun'):
        stub = tmp_path / name
        stub.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        stub.chmod(0o755)
    env = dict(os.environ, PATH=f'{tmp_path}:{os.environ["PATH"]}')

    def run(script, *args):
        return subprocess.run(
            ['bash', str(TOOLS / script), *args],
            capture_output=True,
            text=True,
            check=True,
            env=env,
        ).stdout

    return run


def test_dist_train(launch):
    command = launch('dist_train.sh', 'c.py', '4', '--amp')
    assert 'torch.distributed.run' in command
    assert '--nproc_per_node=4' in command
    assert command.endswith('train.py c.py --launcher pytorch --amp\n')


def test_dist_test(launch):
    command = launch('dist_test.sh', 'c.py', 'x.pth', '2')
    assert command.endswith('test.py c.py x.pth --launcher pytorch\n')


def test_slurm(launch):
    command = launch('slurm_train.sh', 'gpu', 'job', 'c.py', 'work')
    assert command.startswith('srun -p gpu --job-name=job')
    assert 'train.py c.py --work-dir work --launcher slurm' in command
    command = launch('slurm_test.sh', 'gpu', 'job', 'c.py', 'x.pth')
    assert 'test.py c.py x.pth --launcher slurm' in command
