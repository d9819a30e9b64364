"""A small table of classification, and made-up results of it."""

from concurrent.futures import Future

import pytest

from mmdet_rankkd.experiments import sweep
from mmdet_rankkd.experiments.result import Result
from mmdet_rankkd.experiments.table import read_table
from mmdet_rankkd.experiments.training import run_job

SMALL = (
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.count=64',
    'val_dataloader.dataset.count=40',
    'log_level=WARNING',
)
TABLE = """
title = 'A table'
cells = 'digits_cls'
columns = {
    'top-1': dict(pair='resnet14x2_resnet8'),
    'top-5': dict(pair='resnet14x2_resnet8', metric='top5'),
}
rows = {
    'KD': dict(method='kd'),
    'k=2': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=2.0))),
    'FitNet': dict(),
}
paper = {'KD': [1.0, None], 'FitNet': [3.25, 4.5]}
"""


@pytest.fixture
def table_file(tmp_path):
    """Function of a table's text, and of what is replaced in it: its file."""

    def write(*replaced, text=TABLE):
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / 'mine.py'
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def table(table_file):
    """The small table."""
    return read_table(table_file())


class Here:
    """A pool that trains in this process: others take seconds to start."""

    slots = 1

    def submit(self, slot, job):
        future = Future()
        future.set_result(run_job(job))
        return future

    def close(self):
        pass


@pytest.fixture
def here(monkeypatch):
    """Trainings run in this process."""
    monkeypatch.setattr(sweep, 'make_pool', lambda *_: Here())


def make_result(name, seed, last, best=None):
    """A result with nothing but metrics."""
    return Result(
        name=name,
        seed=seed,
        last=last,
        best=best or last,
        curves={},
        minutes=1.0,
        cpu_minutes=1.0,
        resumed=False,
        options=[],
        config_hash='',
        versions={},
        commit=None,
        device='',
    )
