"""The command as a whole: help, speed, several values, mistakes."""

import subprocess
import sys

import pytest
import torch

from mmdet_rankkd.cli.main import SECTIONS
from mmdet_rankkd.cli.verb import repeat_flags
from mmdet_rankkd.version import __version__

from ..helpers import ROOT, rankkd

VERBS = [v.name for verbs in SECTIONS.values() for v in verbs]
#: The verb of each script in tools/, where it has another name.
SCRIPTS = {
    'check': 'check_teacher',
    'convert': 'convert_checkpoint',
    'export': 'export_student',
}


def test_help_names_every_verb_on_one_screen():
    text = rankkd('--help')
    for name in VERBS:
        assert f'\n  {name} ' in text
    lines = text.splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 80
    assert '...' not in text.replace('[ARGS]...', '')


@pytest.mark.parametrize('verb', VERBS)
def test_help_of_a_verb(verb):
    for flag in ('-h', '--help'):
        text = rankkd(verb, flag)
        assert 'Usage: ' in text
        # mim would add the flag itself if it were there.
        assert verb != 'train' or '--gpus' not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_version():
    assert rankkd('--version') == f'rankkd, version {__version__}\n'


def test_help_of_every_verb_imports_nothing_slow():
    code = (
        'import sys\n'
        'from click.testing import CliRunner\n'
        'from mmdet_rankkd.cli.main import main\n'
        f'for args in ([], *([v] for v in {VERBS})):\n'
        "    CliRunner().invoke(main, [*args, '-h'], catch_exceptions=False)\n"
        "slow = {'torch', 'mmdet', 'mmcv', 'scipy', 'matplotlib'}\n"
        'print(slow & set(sys.modules))\n'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'error::ImportWarning', '-c', code],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout == 'set()\n', done.stderr


def test_torch_reads_checkpoints_of_mmengine_whichever_comes_first():
    """Its own, which hold a HistoryBuffer, without pickled code."""
    for first in ('mmdet_rankkd, torch', 'mmdet_rankkd.checkpoint, torch'):
        code = (
            f'import {first}\n'
            'from mmengine.logging import HistoryBuffer\n'
            'kinds = torch.serialization.get_safe_globals()\n'
            'print(HistoryBuffer in kinds)\n'
        )
        done = subprocess.run(
            [sys.executable, '-c', code],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert done.stdout == 'True\n', done.stderr


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, '-m', 'mmdet_rankkd', 'train', 'none.py'],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert "config 'none.py' does not exist" in done.stderr


def test_every_script_is_a_verb():
    """And every verb that is older than the command is a script."""
    scripts = {p.stem for p in (ROOT / 'tools').glob('*.py')}
    assert scripts <= {
        SCRIPTS.get(name, name).replace('-', '_') for name in VERBS
    }
    for name in scripts:
        text = (ROOT / f'tools/{name}.py').read_text()
        assert len(text.splitlines()) == 6


def test_completions_of_a_shell():
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            'from mmdet_rankkd.cli.main import main; main(prog_name="rankkd")',
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=dict(
            _RANKKD_COMPLETE='bash_complete',
            COMP_WORDS='rankkd train --auto',
            COMP_CWORD='2',
        ),
    )
    assert done.stdout == 'plain,--auto-scale-lr\n', done.stderr


@pytest.mark.parametrize(
    'args, expected',
    [
        ('--s 0 1 x', '--s 0 --s 1 --s x'),
        ('a --s 0 1 --out b', 'a --s 0 --s 1 --out b'),
        ('--s 0 --s 1', '--s 0 --s 1'),
        ('--s=0 a', '--s=0 a'),
        ('--s', '--s'),
        ('--s --out b', '--s --out b'),
        ('--out b c', '--out b c'),
        ('', ''),
    ],
)
def test_several_values(args, expected):
    assert repeat_flags(args.split(), ['--s']) == expected.split()


def test_options_without_a_value(tmp_path):
    text = rankkd('sweep', 'table1', '--seeds', status=2)
    assert 'requires an argument' in text
    text = rankkd(
        'make-config', 'digits', 'gfl', 'kd', '--cfg-options', 'x', status=1
    )
    assert "expected KEY=VALUE, got 'x'" in text


def test_resume_with_and_without_a_checkpoint(monkeypatch):
    found = []
    monkeypatch.setattr(
        'mmdet_rankkd.engine.launch.train',
        lambda cfg, amp, scale, resume, trust: found.append(
            (cfg, amp, resume, trust)
        ),
    )
    config = ROOT / 'configs/digits_cls/resnet8_digits-cls.py'
    rankkd('train', config, '--resume', '--amp', '--trust')
    rankkd('train', config, '--resume', 'x.pth', '--launcher', 'pytorch')
    rankkd(
        'train', config, '--work-dir', 'w', '--cfg-options', 'a.b=1', 'c=[2,3]'
    )
    assert [x[1:] for x in found] == [
        (True, 'auto', True),
        (False, 'x.pth', False),
        (False, None, False),
    ]
    assert [x[0].launcher for x in found] == ['none', 'pytorch', 'none']
    assert found[0][0].work_dir == 'work_dirs/resnet8_digits-cls'
    assert found[2][0].work_dir == 'w'
    assert found[2][0].a.b == 1 and found[2][0].c == [2, 3]


def test_mistakes_end_with_a_sentence():
    text = rankkd('demo', '--detector', 'yolo', status=1)
    assert "no demo of 'yolo'" in text and 'retinanet' in text
    text = rankkd('sweep', 'table99', status=1)
    assert 'table12' in text
    text = rankkd('export', 'none.pth', 'out.pth', status=1)
    assert "'none.pth' does not exist" in text


def test_the_trainings_of_a_table():
    text = rankkd('sweep', 'table7', '--list', '--rows', 'KD', 'k=2')
    assert len(text.splitlines()) >= 2


@pytest.mark.parametrize(
    'words',
    [
        'train {}',
        'test {} x.pth',
        'check {}',
        'doctor {}',
        'distill {} {} x.pth',
        'convert x.pth {} out.pth',
        'pseudo-label {} x.pth images --out out.json --threshold 0.5',
        'sweep {}',
        'figures {} --results x --out y',
    ],
)
@pytest.mark.parametrize('text', ['model = dict(', 'x = 1'])
def test_configs_that_are_none(words, text, tmp_path, monkeypatch):
    """One sentence, and no traceback, whatever opens it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/a.png').touch()
    torch.save({}, tmp_path / 'x.pth')
    (tmp_path / 'faulty.py').write_text(text)
    before = sorted(tmp_path.rglob('*'))
    said = rankkd(*words.format(*['faulty.py'] * 2).split(), status=1)
    (last,) = [x for x in said.splitlines() if x.startswith('Error: ')]
    kinds = ('cannot be read: SyntaxError', 'cannot be parsed')
    if text == 'x = 1':
        kinds = ('has no', 'lacks', 'new style')
    assert any(x in last for x in kinds), last
    assert sorted(tmp_path.rglob('*')) == before
