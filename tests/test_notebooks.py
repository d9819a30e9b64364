"""The notebooks are those of the scripts, and run."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from .helpers import ROOT

NOTEBOOKS = sorted((ROOT / 'docs/notebooks').glob('*.ipynb'))
#: In place of what the notebook trains.
SMALL = {
    'IMAGES = dict(train=2000, val=300)': 'IMAGES = dict(train=16, val=6)',
    'EPOCHS = 3': 'EPOCHS = 1',
}


def test_each_script_has_one():
    scripts = sorted((ROOT / 'docs/notebooks').glob('*.py'))
    assert [x.stem for x in NOTEBOOKS] == [x.stem for x in scripts] != []


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda x: x.stem)
def test_it_is_that_of_the_script(path):
    pytest.importorskip('jupytext')
    file = ROOT / 'docs/extensions/notebook.py'
    spec = importlib.util.spec_from_file_location('notebook', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.notebook_of(path.with_suffix('.py'))
    assert path.read_text() == made, 'python docs/extensions/notebook.py'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda x: x.stem)
def test_its_cells_run(path, tmp_path):
    """With fewer images, in a process of their own."""
    cells = json.loads(path.read_text())['cells']
    text = '\n'.join(
        ''.join(x['source']) for x in cells if x['cell_type'] == 'code'
    )
    for old, new in SMALL.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', text],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT), MPLBACKEND='Agg'),
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "dict(type='mmdet_rankkd.KendallRankLoss'" in done.stdout
    assert '# Model card: FasterRCNN' in done.stdout
    alone, distilled = (
        float(line.split()[1])
        for line in done.stdout.splitlines()
        if line.split()[:1] in (['alone'], ['distilled'])
    )
    assert 0 <= alone < 100 and 0 <= distilled < 100
    assert (tmp_path / 'student.pth').is_file()
