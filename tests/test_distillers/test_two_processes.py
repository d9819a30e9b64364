"""Two processes give the gradients of one with the same global batch.

The whole list of cases is that of tests/trust/processes.py.
"""

import json

import pytest

from ..helpers import ROOT, run_two_processes

CASES = ('roi, positives', 'cascade, chosen rows', 'retinanet', 'fgfi')


@pytest.fixture(scope='module')
def found():
    out = run_two_processes(ROOT / 'tests/trust/processes.py', *CASES)
    lines = [x for x in out.splitlines() if x.startswith('{')]
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
