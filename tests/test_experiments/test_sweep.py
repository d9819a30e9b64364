"""Trainings of a table: they go on where they stopped, fail, are repeated."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import partial

import pytest
import torch

from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.engine.launch import parse_options
from mmdet_rankkd.experiments import sweep
from mmdet_rankkd.experiments.cells import compose, read_cells
from mmdet_rankkd.experiments.publish import read_published
from mmdet_rankkd.experiments.result import FILE, read_results
from mmdet_rankkd.experiments.scheduler import (
    run_jobs,
    start_context,
    state_of,
)
from mmdet_rankkd.experiments.sweep import (
    jobs_of,
    results_of,
    run_table,
    teacher_job,
)
from mmdet_rankkd.experiments.table import read_table
from mmdet_rankkd.experiments.training import Job

from ..helpers import ROOT, rankkd
from .conftest import SMALL, make_result


def kill_first_worker(out, killed):
    """Kill the process of the first training that says that it runs."""
    while not killed:
        for file in out.glob('*/seed*/running.json'):
            try:
                pid = json.loads(file.read_text())['pid']
                os.kill(pid, signal.SIGKILL)
            except (json.JSONDecodeError, ProcessLookupError):
                continue
            killed.append(pid)
            break
        time.sleep(0.05)


def test_trains_and_goes_on(table, tmp_path, capsys, here):
    out = tmp_path / 'out'
    cells = table.plan(rows=['KD'])
    run_table(table, cells, [0], out, SMALL, 1)
    (file,) = out.glob('*/seed0/result.json')
    result = read_results(out)['kd_resnet14x2_resnet8'][0]
    assert set(result.last) == {'accuracy/top1', 'accuracy/top5'}
    assert result.best == result.last
    assert result.options == list(SMALL) and not result.resumed
    assert len(result.config_hash) == 64 and result.device
    assert result.cpu_minutes > 0
    curves = result.curves
    assert curves['val/accuracy/top1'][-1][1] == result.last['accuracy/top1']
    assert not file.with_name('running.json').exists()
    before = file.stat().st_mtime_ns
    run_table(table, cells, [0], out, SMALL, 1)
    assert file.stat().st_mtime_ns == before
    assert '1 of them done before' in capsys.readouterr().out
    with pytest.raises(FileExistsError, match='choose another folder'):
        run_table(table, cells, [0, 1], out, SMALL[:1], 1)
    # Stopped after its first epoch, a training goes on with the second.
    file.unlink()
    longer = ('train_cfg.max_epochs=2', *SMALL[1:])
    file.with_name('options.json').write_text(json.dumps(longer))
    run_table(table, cells, [0], out, longer, 1)
    assert file.with_name('output.log').read_text().count('epoch_1.pth')
    assert file.with_name('epoch_2.pth').is_file()
    again = read_results(out)['kd_resnet14x2_resnet8'][0]
    assert again.resumed and again.config_hash != result.config_hash
    assert len(again.curves['val/accuracy/top1']) >= 1


def test_the_teacher_is_tested_once(table_file, tmp_path, here):
    table = read_table(
        table_file(("dict(method='kd')", "dict(method='teacher')"))
    )
    cells = table.plan(['teacher'])
    options = ['test_dataloader.dataset.count=40', 'model.student.x=1']
    run_table(table, cells, [3, 4], tmp_path / 'out', options, 1)
    (runs,) = read_results(tmp_path / 'out').values()
    assert list(runs) == [0] and runs[0].options == options[:1]
    assert runs[0].last['accuracy/top1'] > 90
    assert not list(tmp_path.glob('out/*/seed0/*.pth'))


def test_a_failed_training_is_reported(table, tmp_path, here):
    cells = table.plan(rows=['KD'])
    options = [*SMALL, 'model.teacher.checkpoint=missing.pth']
    with pytest.raises(RuntimeError, match='missing.pth') as error:
        run_table(table, cells, [0], tmp_path / 'out', options, 1)
    assert 'output.log' in str(error.value)
    assert '1 of 1 trainings failed' in str(error.value)
    assert read_results(tmp_path / 'out') == {}


def test_another_config_of_that_name(table, tmp_path):
    cells = table.plan(rows=['KD'])
    jobs_of(table, cells, [0], tmp_path)
    cells[0].config.model.losses[0].temperature = 7
    with pytest.raises(FileExistsError, match='another config'):
        jobs_of(table, cells, [0], tmp_path)


def test_a_killed_worker_is_replaced(table, tmp_path):
    """What it was at is repeated, and the other seed still trains."""
    out, killed = tmp_path / 'out', []
    thread = threading.Thread(target=kill_first_worker, args=(out, killed))
    thread.start()
    try:
        run_table(table, table.plan(rows=['KD']), [0, 1], out, SMALL, 1)
    finally:
        killed.append(None)
        thread.join()
    assert killed[0] is not None
    assert set(read_results(out)['kd_resnet14x2_resnet8']) == {0, 1}


IDLE_WORKER = """
import multiprocessing, time
from pathlib import Path
from mmdet_rankkd.experiments.scheduler import LocalPool
from mmdet_rankkd.experiments.training import Job
pool = LocalPool(1)
pool.submit(0, Job('a', 0, 'none.py', Path('out'), 'x')).result()
(worker,) = multiprocessing.active_children()
print(worker.pid, flush=True)
time.sleep(600)
"""


def test_workers_end_with_a_killed_sweep(tmp_path):
    sweep = subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', IDLE_WORKER],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    worker = int(sweep.stdout.readline())
    os.kill(worker, 0)
    sweep.kill()
    sweep.wait()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail('the worker lives on')


def test_a_damaged_checkpoint_is_passed_over(table, tmp_path, here):
    """And a file that is half written is replaced."""
    options = (
        *SMALL,
        'train_cfg.max_epochs=2',
        'default_hooks.checkpoint.max_keep_ckpts=-1',
    )
    cells, out = table.plan(rows=['KD']), tmp_path / 'out'
    run_table(table, cells, [0], out, options)
    folder = out / cells[0].name / 'seed0'
    newest = folder / 'epoch_2.pth'
    newest.write_bytes(newest.read_bytes()[:-100])
    (folder / '.epoch_2.pth.partial').write_bytes(b'half')
    (folder / 'result.json').unlink()
    run_table(table, cells, [0], out, options)
    said = (folder / 'output.log').read_text()
    assert f'Resuming from the one before it, {folder / "epoch_1.pth"}' in said
    assert read_results(out)[cells[0].name][0].resumed
    assert 'state_dict' in read_checkpoint(newest)
    assert not list(folder.glob('.*.partial'))


KILLED_SWEEP = """
import sys
from pathlib import Path
from mmdet_rankkd.experiments.sweep import run_table
from mmdet_rankkd.experiments.table import read_table
if __name__ == '__main__':
    table = read_table(sys.argv[1])
    cells = table.plan(rows=['KD'])
    run_table(table, cells, [0, 1], Path(sys.argv[2]), sys.argv[3:], 1)
"""


def test_a_killed_sweep_loses_what_is_after_a_checkpoint(
    table, table_file, tmp_path, here
):
    """Killed with its worker just after the second seed's first checkpoint."""
    options = ('train_cfg.max_epochs=4', *SMALL[1:-1])
    out = tmp_path / 'out'
    name = table.plan(rows=['KD'])[0].name
    first, second = (out / name / f'seed{seed}' for seed in (0, 1))
    sweep = subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', KILLED_SWEEP]
        + [table_file(), str(out), *options],
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    note = second / 'last_checkpoint'
    while sweep.poll() is None and not note.is_file():
        time.sleep(0.02)
    worker = json.loads((second / 'running.json').read_text())['pid']
    os.kill(worker, signal.SIGKILL)
    sweep.kill()
    sweep.wait()
    assert not (second / 'result.json').exists()
    before = (first / 'result.json').stat().st_mtime_ns
    newest = note.read_text()
    run_table(table, table.plan(rows=['KD']), [0, 1], out, options, 1)
    assert (first / 'result.json').stat().st_mtime_ns == before
    said = (second / 'output.log').read_text()
    assert f'Load checkpoint from {newest}' in said
    runs = read_results(out)[name]
    assert [runs[seed].resumed for seed in (0, 1)] == [False, True]


def test_seeds_of_a_search_do_not_come_into_a_report(
    table, table_file, tmp_path
):
    """Though both tables keep a training in the same folder."""
    out = tmp_path / 'out'
    (name,) = (cell.name for cell in table.plan(['KD']))
    for seed, top1 in ((0, 50.0), (10, 60.0), (11, 62.0)):
        file = out / name / f'seed{seed}' / FILE
        file.parent.mkdir(parents=True)
        last = {'accuracy/top1': top1, 'accuracy/top5': 90.0}
        file.write_text(json.dumps(asdict(make_result(name, seed, last))))
    found, others = results_of(table, out, [10, 11])
    assert set(found[name]) == {10, 11} and others == [0]
    assert results_of(table, out, [20]) == ({}, [0, 10, 11])
    arguments = (table_file(), '--seeds', 10, 11, '--out', out)
    said = rankkd('sweep', *arguments, '--table')
    assert f'left out: seeds 0 in {out}' in said and '61.00' in said
    rankkd('sweep', *arguments, '--publish', tmp_path)
    published = read_published(tmp_path / 'results/mine.json')
    assert set(published[name]) == {10, 11}


class Dying:
    """A pool whose processes die so many times in all."""

    slots = 2

    def __init__(self, times):
        self.times = times
        self.started = []

    def submit(self, slot, job):
        self.started.append(job.seed)
        future = Future()
        if len(self.started) <= self.times:
            future.set_exception(BrokenProcessPool('died'))
        else:
            future.set_result(None)
        return future

    def close(self):
        self.closed = True


@pytest.mark.parametrize('times, count', [(0, 2), (4, 6), (99, 6)])
def test_workers_that_die(times, count, tmp_path):
    """A job is started three times at most."""
    jobs = [Job('a', seed, '', tmp_path / f'{seed}', 'x') for seed in (0, 1)]
    pool = Dying(times)
    if times == 99:
        with pytest.raises(RuntimeError, match='2 of 2 trainings failed'):
            run_jobs(jobs, pool)
    else:
        run_jobs(jobs, pool)
    assert len(pool.started) == count and pool.closed


def test_progress(tmp_path):
    log = tmp_path / '20260101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(
        '{"lr": 0.1, "step": 220}\n{"coco/bbox_mAP": 0.254, "step": 1}\n'
    )
    job = Job('kd_gfl', 3, '', tmp_path, 'coco/bbox_mAP')
    assert state_of(job) == 'kd_gfl seed 3 220 AP 25.4'


def test_options():
    found = parse_options(['a.b=1', 'c=[1,2]', 'd=x'])
    assert found == {'a.b': 1, 'c': [1, 2], 'd': 'x'}
    assert parse_options([]) == {}


def test_teachers_that_are_trained_first(tmp_path, monkeypatch, capsys):
    """Once, with the command's options but for those of the student."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, 'make_digits', lambda root: None)
    cells = read_cells('digits')
    options = ['train_cfg.max_epochs=1', 'model.losses.0.temperature=2']
    job = teacher_job(cells, 'gfl', options)
    assert job.options == ('train_cfg.max_epochs=1',)
    trained = []

    def train(jobs, pool):
        trained.extend(job.name for job in jobs)
        for job in jobs:
            (job.folder / 'last_checkpoint').write_text('newest.pth')

    def export(newest, checkpoint):
        assert newest == 'newest.pth'
        (tmp_path / checkpoint).touch()

    monkeypatch.setattr(sweep, 'run_jobs', train)
    monkeypatch.setattr(sweep, 'export_student', export)
    chosen = [
        sweep.Cell('x', pair, partial(compose, cells, pair, 'kd'))
        for pair in ('gfl', 'faster-rcnn', 'gfl', 'atss')
    ]
    sweep.prepare(cells, chosen, options)
    assert trained == ['teacher_gfl', 'teacher_atss']
    assert 'teacher_atss' in capsys.readouterr().out
    sweep.prepare(cells, chosen, options)
    assert len(trained) == 2
    with pytest.raises(FileExistsError, match='with the options'):
        sweep.prepare(cells, chosen, options[1:])


@pytest.mark.parametrize(
    'gpu, method', [(True, 'spawn'), (False, 'forkserver')]
)
def test_no_process_is_forked_where_there_is_a_gpu(monkeypatch, gpu, method):
    """MMEngine has looked for it, after which CUDA refuses forked ones."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    assert start_context().get_start_method() == method
