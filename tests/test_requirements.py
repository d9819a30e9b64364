"""The set-up stops early and says what to do."""

import importlib.util
import shutil
import sys
from collections import namedtuple

import pytest

from .helpers import ROOT

Usage = namedtuple('Usage', 'total used free')


@pytest.fixture
def install():
    """The set-up script as a module of its own."""
    path = ROOT / 'requirements/install.py'
    spec = importlib.util.spec_from_file_location('set_up', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_this_machine_will_do(install, tmp_path):
    install.check_machine(tmp_path / '.venv')


def test_wrong_python(install, tmp_path, monkeypatch):
    version = namedtuple('V', 'major minor')(3, 9)
    monkeypatch.setattr(install.sys, 'version_info', version)
    with pytest.raises(SystemExit, match='PYTHON=python3.10'):
        install.check_machine(tmp_path / '.venv')


def test_no_compiler(install, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(SystemExit, match='no C\\+\\+ compiler.*\n.*apt'):
        install.check_machine(tmp_path / '.venv')


def test_no_space(install, tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, 'disk_usage', lambda path: Usage(10**10, 9 * 10**9, 10**9)
    )
    with pytest.raises(SystemExit, match='1.0 GB free'):
        install.check_machine(tmp_path / '.venv')


def test_somebody_elses_environment_is_left_alone(
    install, tmp_path, monkeypatch
):
    venv = tmp_path / '.venv'
    venv.mkdir()
    (venv / 'precious').touch()
    monkeypatch.setattr(sys, 'argv', ['install.py', str(venv), 'onedl'])
    with pytest.raises(SystemExit, match='not of this set-up'):
        install.main()
    assert (venv / 'precious').exists()


def test_done_is_done(install, tmp_path, monkeypatch, capsys):
    venv = tmp_path / '.venv'
    venv.mkdir()
    wanted = f'{install.fingerprint("onedl")} {install.ROOT}'
    (venv / 'set-up-done').write_text(wanted)
    monkeypatch.setattr(sys, 'argv', ['install.py', str(venv), 'onedl'])
    monkeypatch.setattr(install, 'check_machine', None)
    install.main()
    assert capsys.readouterr().out == ''


def test_build_progress(install, capsys):
    progress = install.BuildProgress()
    for line in ('g++ -c x.cpp', '[1/78] c++', '[2/78] c++', '[39/78] c++'):
        progress(line)
    out = capsys.readouterr().out
    assert '39/78 files, 50 %' in out


def test_a_failing_command_shows_its_end(install, tmp_path, capsys):
    with pytest.raises(SystemExit, match='safe to run make again'):
        install.run(
            [sys.executable, '-c', 'print("why"); raise SystemExit(3)'],
            tmp_path / 'log',
        )
    assert 'why' in capsys.readouterr().out


def test_pins_are_exact(install):
    for name in ('base', 'dev', *install.STACKS):
        assert all('==' in pin for pin in install.read_pins(name))
