"""The notebooks are those of the scripts, and run."""

import importlib.util
import json

import pytest

from .helpers import ROOT
from .programs import run_program

NOTEBOOKS = sorted((ROOT / 'docs/notebooks').glob('*.ipynb'))
#: In place of what the notebook trains, and of its new processes.
SMALL = {
    'IMAGES = dict(train=2000, val=300)': 'IMAGES = dict(train=16, val=6)',
    'EPOCHS = 3': 'EPOCHS = 1',
    'done = subprocess.run(': 'done = tests.programs.forked(',
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
    """With fewer images, and the command's processes forked."""
    cells = json.loads(path.read_text())['cells']
    text = '\n'.join(
        ''.join(x['source']) for x in cells if x['cell_type'] == 'code'
    )
    for old, new in SMALL.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    text = f'import tests.programs\n{text}'
    done = run_program(text, cwd=tmp_path, env=dict(MPLBACKEND='Agg'))
    assert "dict(type='mmdet_rankkd.KendallRankLoss'" in done.stdout
    assert '# Model card: FasterRCNN' in done.stdout
    alone, distilled = (
        float(line.split()[1])
        for line in done.stdout.splitlines()
        if line.split()[:1] in (['alone'], ['distilled'])
    )
    assert 0 <= alone < 100 and 0 <= distilled < 100
    assert (tmp_path / 'student.pth').is_file()
