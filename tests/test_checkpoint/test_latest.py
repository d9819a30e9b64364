import os
from pathlib import Path

import pytest
import torch

from mmdet_rankkd.checkpoint.latest import has_checkpoint, instead_of_damaged


@pytest.fixture
def work(tmp_path):
    """Three checkpoints, and the best one without an optimizer."""
    for step in (9, 10, 11):
        torch.save(
            dict(state_dict={}, optimizer={}, meta=dict(iter=step)),
            tmp_path / f'iter_{step}.pth',
        )
    torch.save(
        dict(state_dict={}, meta=dict(iter=20)), tmp_path / 'best_ap.pth'
    )
    note(tmp_path, 'iter_11.pth')
    return tmp_path


def note(work, name):
    (work / 'last_checkpoint').write_text(str(work / name))


def cut(file, size):
    file.write_bytes(file.read_bytes()[:size])


def test_the_newest_is_intact(work, capsys):
    assert instead_of_damaged(work) is None
    assert capsys.readouterr().out == ''


def test_nothing_was_noted(tmp_path):
    assert not has_checkpoint(tmp_path)
    assert instead_of_damaged(tmp_path) is None
    # The best one, of a training whose own checkpoints come later.
    torch.save(dict(state_dict={}, meta=dict(iter=2)), tmp_path / 'best.pth')
    assert has_checkpoint(tmp_path)
    assert instead_of_damaged(tmp_path) is None


def test_killed_before_the_first_was_noted(work, capsys):
    (work / 'last_checkpoint').unlink()
    assert instead_of_damaged(work) == str(work / 'iter_11.pth')
    said = capsys.readouterr().out
    assert f'was not noted in {work / "last_checkpoint"}. Resuming' in said
    assert 'iter_11.pth (iteration 11)' in said
    for file in work.glob('iter*.pth'):
        cut(file, 100)
    assert instead_of_damaged(work) is None  # from the beginning


@pytest.mark.parametrize('size', [0, 100, -1])
def test_the_one_before_is_taken(work, capsys, size):
    cut(work / 'iter_11.pth', size)
    # A copied folder: by iterations, not by time or by name.
    os.utime(work / 'iter_9.pth')
    assert instead_of_damaged(work) == str(work / 'iter_10.pth')
    said = capsys.readouterr().out
    assert 'iter_11.pth' in said and 'iter_10.pth (iteration 10)' in said
    cut(work / 'iter_10.pth', 100)
    assert instead_of_damaged(work) == str(work / 'iter_9.pth')


def test_it_is_not_there(work, capsys):
    note(work, 'iter_12.pth')
    assert instead_of_damaged(work) == str(work / 'iter_11.pth')
    assert 'does not exist' in capsys.readouterr().out
    (work / 'last_checkpoint').write_text('')
    assert instead_of_damaged(work) == str(work / 'iter_11.pth')


@pytest.mark.parametrize('meta', [None, 'text', dict(epoch=3)])
def test_files_of_other_programs_are_passed_over(work, meta):
    torch.save(dict(state_dict={}, optimizer={}, meta=meta), work / 'x.pth')
    cut(work / 'iter_11.pth', 100)
    assert instead_of_damaged(work) == str(work / 'iter_10.pth')


def test_pickled_code_of_a_training_of_ones_own(work):
    saved = dict(state_dict={}, optimizer={}, meta=dict(iter=12, args=Path()))
    torch.save(saved, work / 'iter_12.pth')
    note(work, 'iter_12.pth')
    assert instead_of_damaged(work, trust=True) is None
    assert instead_of_damaged(work) == str(work / 'iter_11.pth')


def test_none_is_left(work):
    for file in work.glob('iter*.pth'):
        cut(file, 100)
    with pytest.raises(ValueError, match='train without --resume'):
        instead_of_damaged(work)
