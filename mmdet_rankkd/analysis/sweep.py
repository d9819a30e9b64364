"""Grids of trainings: rows and columns of a table, several seeds.

A sweep is a file in ``configs/sweeps``: a set of cells, the pair (and perhaps
settings) of each column, the method (and perhaps settings) of each row, and
the numbers of the paper.
"""

import json
import os
import sys
import time
import traceback
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.config import Config, DictAction

from .cells import CONFIGS, cell_name, cell_text, write_cell
from .scalars import read_scalars, val_curve

SWEEPS = CONFIGS / 'sweeps'
Results = Dict[str, List[Dict[str, Dict[str, float]]]]


@dataclass(frozen=True)
class Cell:
    """One training of a table, without its seed."""

    name: str
    text: str


def read_sweep(path: str) -> Dict[str, Any]:
    """Read a sweep, given as a file or by its name in ``configs/sweeps``.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If it lacks an entry or a row of the paper's numbers has
            another length than the columns.
    """
    file = Path(path)
    if not file.is_file():
        file = SWEEPS / f'{path}.py'
    if not file.is_file():
        names = ', '.join(sorted(p.stem for p in SWEEPS.glob('*.py')))
        raise FileNotFoundError(
            f'{path!r} is neither a file nor one of the sweeps: {names}'
        )
    sweep = Config.fromfile(file).to_dict()
    missing = {'title', 'cells', 'rows', 'columns'} - set(sweep)
    if missing:
        raise ValueError(f'{file} lacks {", ".join(sorted(missing))}')
    for row, numbers in sweep.get('paper', {}).items():
        if len(numbers) != len(sweep['columns']):
            raise ValueError(
                f'{file}: the paper has {len(numbers)} numbers in row '
                f'{row!r}, but there are {len(sweep["columns"])} columns'
            )
    sweep['name'] = file.stem
    return sweep


def cells_of(sweep: Dict[str, Any], row: str, column: str) -> List[Cell]:
    """The trainings whose mean is one number of the table.

    Returns:
        list[Cell]: None for a row whose method is not there.
    """
    settings, place = sweep['rows'][row], sweep['columns'][column]
    if 'method' not in settings:
        return []
    overrides: Dict[str, Dict[str, Any]] = {}
    for part in (place.get('set', {}), settings.get('set', {})):
        for loss, arguments in part.items():
            overrides.setdefault(loss, {}).update(arguments)
    pairs = place['pairs'] if 'pairs' in place else [place['pair']]
    return [
        Cell(
            cell_name(pair, settings['method'], overrides),
            cell_text(sweep['cells'], pair, settings['method'], overrides),
        )
        for pair in pairs
    ]


def plan(
    sweep: Dict[str, Any],
    rows: Optional[Sequence[str]] = None,
    columns: Optional[Sequence[str]] = None,
) -> List[Cell]:
    """The trainings of a sweep, each once.

    Raises:
        ValueError: If a row or column is not there.
    """
    for chosen, what in ((rows, 'rows'), (columns, 'columns')):
        unknown = set(chosen or ()) - set(sweep[what])
        if unknown:
            raise ValueError(
                f'no {what} {sorted(unknown)} in {sweep["name"]}; there are '
                + ', '.join(map(repr, sweep[what]))
            )
    found: Dict[str, Cell] = {}
    for row in rows or sweep['rows']:
        for column in columns or sweep['columns']:
            for cell in cells_of(sweep, row, column):
                found[cell.name] = cell
    return list(found.values())


def train_cell(
    config: str, work_dir: str, seed: int, options: Sequence[str]
) -> Dict[str, Any]:
    """Train one cell, or go on where it stopped; in a process of a pool.

    Returns:
        dict: ``last`` and ``best`` validation metrics and ``minutes``; also
        written to ``result.json`` in the work dir.
    """
    from mmengine.runner import Runner

    folder = Path(work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.time()
    with (
        open(folder / 'output.log', 'a') as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        try:
            cfg = Config.fromfile(config)
            cfg.merge_from_dict(parse_options(options))
            cfg.merge_from_dict(dict(randomness=dict(seed=seed)))
            cfg.work_dir = work_dir
            cfg.resume = True
            # Runners of one process are told apart by this name.
            cfg.experiment_name = f'{folder.name}-{os.getpid()}-{start}'
            runner = Runner.from_cfg(cfg)
            runner.train()
        except Exception:
            traceback.print_exc()
            raise
    hub = runner.message_hub
    last = {
        key[len('val/') :]: float(value.current())
        for key, value in hub.log_scalars.items()
        if key.startswith('val/') and '/best/' not in key and 'time' not in key
    }
    result = dict(
        last=last,
        best=hub.runtime_info.get('best_metrics', {}),
        minutes=(time.time() - start) / 60,
    )
    partial = folder / 'result.json.partial'
    partial.write_text(json.dumps(result, indent=1))
    os.replace(partial, folder / 'result.json')
    return result


def parse_options(options: Sequence[str]) -> Dict[str, Any]:
    """``KEY=VALUE`` items as MMEngine's ``--cfg-options`` reads them."""
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction, default={})
    return parser.parse_args(
        ['--options', *options] if options else []
    ).options


def _start_worker(index: int, workers: int) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_device(index % torch.cuda.device_count())
    elif workers > 1:
        torch.set_num_threads(1)


def _new_pool(index: int, workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        1, get_context('spawn'), _start_worker, (index, workers)
    )


def default_workers() -> int:
    """One training a GPU, or one a core without one."""
    return torch.cuda.device_count() or os.cpu_count() or 1


def run_sweep(
    sweep: Dict[str, Any],
    cells: Sequence[Cell],
    seeds: Sequence[int],
    out: Path,
    options: Sequence[str] = (),
    workers: Optional[int] = None,
) -> None:
    """Train what has no result yet, with a line of progress.

    Args:
        sweep (dict): Of :func:`read_sweep`.
        cells (Sequence[Cell]): Of :func:`plan`.
        seeds (Sequence[int]): Each cell runs with each of them.
        out (Path): Folder of the work dirs, ``<cell>/seed<n>``.
        options (Sequence[str]): ``KEY=VALUE`` for all trainings.
        workers (int, optional): Trainings at a time.

    Raises:
        RuntimeError: If a training failed; the others are finished first.
        FileExistsError: If a folder holds trainings of another config.
    """
    jobs = []
    for cell in cells:
        config = write_cell(out / 'configs' / f'{cell.name}.py', cell.text)
        for seed in seeds:
            folder = out / cell.name / f'seed{seed}'
            _check_options(folder, options)
            if not (folder / 'result.json').is_file():
                jobs.append((cell.name, seed, config, folder))
    count = len(cells) * len(seeds)
    print(
        f'{sweep["title"]}\n{count} trainings, {count - len(jobs)} of them '
        f'done before; results in {out}',
        flush=True,
    )
    if not jobs:
        return
    workers = min(workers or default_workers(), len(jobs))
    # One pool a worker: each keeps the device that it was given.
    pools = [_new_pool(index, workers) for index in range(workers)]
    failed: List[str] = []
    waiting = list(jobs)
    running: Dict[int, Tuple[Future, Tuple]] = {}
    start, shown, done = time.time(), 0.0, 0
    try:
        while waiting or running:
            for index, pool in enumerate(pools):
                if index not in running and waiting:
                    job = waiting.pop(0)
                    future = pool.submit(
                        train_cell, str(job[2]), str(job[3]), job[1], options
                    )
                    running[index] = (future, job)
            for index, (future, job) in list(running.items()):
                if future.done():
                    del running[index]
                    done += 1
                    error = future.exception()
                    if error is not None:
                        failed.append(_failure(job, error))
                    if isinstance(error, BrokenProcessPool):
                        pools[index] = _new_pool(index, workers)
            if time.time() - shown > (2 if sys.stdout.isatty() else 30):
                shown = time.time()
                _show_progress(start, done, len(jobs), running)
            time.sleep(0.2)
    finally:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
    if sys.stdout.isatty():
        print('\033[K', end='')
    if failed:
        raise RuntimeError(
            f'{len(failed)} of {len(jobs)} trainings failed; run the same '
            'command again to repeat them:\n' + '\n'.join(failed)
        )


def _check_options(folder: Path, options: Sequence[str]) -> None:
    """Results of one folder must come from the same options."""
    file = folder / 'options.json'
    if file.is_file():
        before = json.loads(file.read_text())
        if before != list(options):
            raise FileExistsError(
                f'{folder} holds a training with the options {before}, not '
                f'{list(options)}; choose another folder with --out'
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(list(options)))


def _failure(job: Tuple, error: Any) -> str:
    reason = str(error).strip().split('\n')[0]
    return (
        f'  {job[0]}, seed {job[1]}: {type(error).__name__}: {reason} '
        f'(see {job[3] / "output.log"})'
    )


def _show_progress(
    start: float, done: int, count: int, running: Dict[int, Tuple]
) -> None:
    parts = []
    for _, (name, seed, _, folder) in running.values():
        entries = read_scalars(folder)
        curve = val_curve(entries, 'accuracy/top1')
        epochs = [e['epoch'] for e in entries if 'epoch' in e]
        now = f' epoch {epochs[-1]:.0f}' if epochs else ''
        now += f' top-1 {curve[-1][1]:.1f}' if curve else ''
        parts.append(f'{name} seed {seed}{now}')
    minutes = (time.time() - start) / 60
    left = f', {minutes / done * (count - done):.1f} min left' if done else ''
    line = f'  {done}/{count} done, {minutes:.1f} min{left} | ' + ' | '.join(
        parts
    )
    tty = sys.stdout.isatty()
    width = os.get_terminal_size().columns if tty else 200
    print(line[:width], end='\033[K\r' if tty else '\n', flush=True)


def read_results(out: Path) -> Results:
    """Results by name of the cell, in the order of the seeds."""
    found: Results = {}
    for file in sorted(Path(out).glob('*/seed*/result.json')):
        found.setdefault(file.parent.parent.name, []).append(
            json.loads(file.read_text())
        )
    return found


def figure_of(
    sweep: Dict[str, Any],
    row: str,
    column: str,
    results: Results,
    which: str = 'last',
) -> Optional[str]:
    """``mean ± standard deviation`` of our seeds, or None if not run.

    Where a column is an average over pairs, it is there once all of them are,
    with the seeds that all have; the deviation is that of the averages.
    """
    key = 'accuracy/' + sweep['columns'][column].get('metric', 'top1')
    cells = cells_of(sweep, row, column)
    if not cells or any(c.name not in results for c in cells):
        return None
    runs = [[r[which][key] for r in results[c.name]] for c in cells]
    averages = [mean(x) for x in zip(*runs)]
    text = f'{mean(averages):.2f}'
    if len(averages) > 1:
        text += f' ± {stdev(averages):.2f}'
    return text


def table_rows(
    sweep: Dict[str, Any], results: Results, which: str = 'last'
) -> List[List[str]]:
    """The table, header first: the paper's numbers, ours where we ran them."""
    rows = [['', 'of', *sweep['columns']]]
    for row, settings in sweep['rows'].items():
        ours = [
            figure_of(sweep, row, column, results, which)
            for column in sweep['columns']
        ]
        paper = sweep.get('paper', {}).get(row)
        state = 'not run' if 'method' in settings else 'not there yet'
        lacking = not any(ours)
        if paper:
            of = f'paper; ours {state}' if lacking else 'paper'
            rows.append([row, of, *(_number(x) for x in paper)])
        if not (paper and lacking):
            name = '' if paper else row
            rows.append([name, 'ours', *(x or state for x in ours)])
    return rows


def _number(value: Optional[float]) -> str:
    return '' if value is None else f'{value:.2f}'


def to_markdown(rows: List[List[str]]) -> str:
    """Rows of a table, header first, as Markdown."""
    lines = ['| ' + ' | '.join(r) + ' |' for r in rows]
    lines.insert(1, '|' + '---|' * len(rows[0]))
    return '\n'.join(lines)
