"""Two processes give the gradients of one with the same global batch.

The whole list of cases is that of tests/trust/processes.py.
"""

import json
import os
import subprocess
import sys

import pytest

from ..helpers import ROOT

CASES = ('roi, positives', 'cascade, chosen rows', 'retinanet', 'fgfi')


@pytest.fixture(scope='module')
def found():
    command = [sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run']
    script = ROOT / 'tests/trust/processes.py'
    done = subprocess.run(
        [*command, '--standalone', '--nproc_per_node=2', script, *CASES],
        capture_output=True,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT)),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [x for x in done.stdout.splitlines() if x.startswith('{')]
    return [json.loads(x) for x in lines]


@pytest.mark.parametrize('name', CASES)
def test_gradients(name, found):
    """Unequal counts, an empty image, a process without any object."""
    cases = [x for x in found if x['case'] == name]
    assert len(cases) == 3
    for case in cases:
        assert case['gradient'] > 0
        assert case['difference'] < 1e-5, case
        assert case['loss_difference'] < 1e-5 * max(1, abs(case['loss']))
