"""A file is there completely or not at all."""

import os
import signal

import pytest

from mmdet_rankkd.checkpoint.write import new_file, refuse_to_overwrite

from ..programs import run_program


def test_new_files(tmp_path):
    path = tmp_path / 'new/folder/a.pth'
    with new_file(path) as file:
        file.write(b'first')
        assert not path.exists()
    assert path.read_bytes() == b'first'
    with pytest.raises(FileExistsError, match='a.pth exists.*--force'):
        with new_file(path) as file:
            file.write(b'second')
    assert path.read_bytes() == b'first'
    with new_file(path, force=True) as file:
        file.write(b'third')
        assert path.read_bytes() == b'first'
    assert path.read_bytes() == b'third'
    assert os.listdir(path.parent) == ['a.pth']
    # As any other new file may be read.
    (path.parent / 'plain').touch()
    assert path.stat().st_mode == (path.parent / 'plain').stat().st_mode


@pytest.mark.parametrize('force', [False, True])
def test_folders_are_never_replaced(tmp_path, force):
    with pytest.raises(IsADirectoryError, match='is a folder'):
        refuse_to_overwrite(tmp_path, force)
    with pytest.raises(IsADirectoryError, match='is a folder'):
        with new_file(tmp_path, force):
            pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('kind', [OSError, KeyboardInterrupt])
def test_a_failing_write_changes_nothing(tmp_path, kind):
    path = tmp_path / 'a.pth'
    for before in ([], ['a.pth']):
        with pytest.raises(kind):
            with new_file(path, force=True) as file:
                file.write(b'half')
                raise kind('disk full')
        assert os.listdir(tmp_path) == before
        path.write_bytes(b'whole')


def test_one_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / 'a.pth'
    with pytest.raises(FileExistsError):
        with new_file(path) as file:
            file.write(b'mine')
            path.write_bytes(b'of another process')
    assert path.read_bytes() == b'of another process'


KILLED = """
import os, signal, sys
from mmdet_rankkd.checkpoint.write import new_file
with new_file(sys.argv[1], force=True) as file:
    file.write(b'half')
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_write_leaves_the_file_before(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'whole')
    run_program(KILLED, path, status=-signal.SIGKILL)
    assert path.read_bytes() == b'whole'
