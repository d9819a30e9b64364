"""Training the cells of a table, and the teachers that they need."""

from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from mmdet_rankkd.checkpoint.export import export_student
from mmdet_rankkd.checkpoint.latest import noted_checkpoint
from mmdet_rankkd.datasets import make_digits

from .cells import CellSet, pair_names, write_config
from .metrics import METRICS
from .ray_pool import RayPool
from .result import Results, read_results
from .scheduler import LocalPool, Pool, run_jobs
from .table import Cell, Table
from .training import Job


def jobs_of(
    table: Table,
    cells: Sequence[Cell],
    seeds: Sequence[int],
    out: Path,
    options: Sequence[str] = (),
) -> List[Job]:
    """A job for each cell and seed, one for a test; configs are written.

    Args:
        table (Table): Table of the cells.
        cells (Sequence[Cell]): Cells of ``table.plan()``.
        seeds (Sequence[int]): Each cell runs with each of them.
        out (Path): Folder of the work dirs, ``<cell>/seed<n>``, and of the
            configs, ``configs/<cell>.py``.
        options (Sequence[str]): ``KEY=VALUE`` for all trainings.

    Raises:
        ValueError: If an option of the table does not fit a config; nothing
            is written then.
        FileExistsError: If the folder holds another config of that name.
    """
    key = METRICS[table.cells.kind.metric].key
    jobs = []
    # All are composed before one is written: an option may fit none.
    for cell, cfg in [(cell, cell.config) for cell in cells]:
        path = out / 'configs' / f'{cell.name}.py'
        config = str(write_config(path, cfg))
        trained = cell.checkpoint is None
        jobs += [
            Job(
                cell.name,
                seed,
                config,
                out / cell.name / f'seed{seed}',
                key,
                tuple(options if trained else for_teacher(options)),
                cell.checkpoint,
            )
            for seed in (seeds if trained else (0,))
        ]
    return jobs


def run_table(
    table: Table,
    cells: Sequence[Cell],
    seeds: Sequence[int],
    out: Path,
    options: Sequence[str] = (),
    workers: Optional[int] = None,
    ray: Optional[str] = None,
) -> None:
    """Train what has no result yet.

    Args:
        table (Table): Table of the cells.
        cells (Sequence[Cell]): Cells of ``table.plan()``.
        seeds (Sequence[int]): Each cell runs with each of them.
        out (Path): Folder of the results.
        options (Sequence[str]): ``KEY=VALUE`` for all trainings.
        workers (int, optional): Trainings at a time on this machine.
        ray (str, optional): Address of a Ray cluster that trains instead.

    Raises:
        RuntimeError: If a training failed; the others are finished first.
        FileExistsError: If a folder holds trainings of another config or
            with other options.
    """
    jobs = jobs_of(table, cells, seeds, out, options)
    done = sum(job.done for job in jobs)
    print(
        f'{table.title}\n{len(jobs)} trainings, {done} of them done before; '
        f'results in {out}',
        flush=True,
    )
    if done < len(jobs):
        prepare(table.cells, cells, options, workers, ray)
        run_jobs(jobs, make_pool(workers, ray))


def results_of(
    table: Table, folder: Path, seeds: Sequence[int]
) -> Tuple[Results, List[int]]:
    """Read the results of a table in a folder, which others may share.

    A table that searches and one that reports have trainings in common, whose
    seeds must not mix.

    Args:
        table (Table): Whose results.
        folder (Path): Where they are.
        seeds (Sequence[int]): Those that its trainings are taken of; what is
            only tested has no seed.

    Returns:
        tuple: Results by name of the cell and by seed, and the other seeds of
        these trainings in the folder, which are left out.
    """
    rows = [row for row in table.rows if table.is_tested(row)]
    tested = {cell.name for cell in table.plan(rows)}
    found: Results = {}
    others = set()
    results = read_results(folder)
    for name in [cell.name for cell in table.plan() if cell.name in results]:
        kept = {
            seed: result
            for seed, result in results[name].items()
            if seed in seeds or name in tested
        }
        others |= set(results[name]) - set(kept)
        if kept:
            found[name] = kept
    return found, sorted(others)


def make_pool(workers: Optional[int], ray: Optional[str] = None) -> Pool:
    """Processes here, or the tasks of a Ray cluster."""
    return RayPool(ray) if ray else LocalPool(workers)


def prepare(
    cells: CellSet,
    chosen: Sequence[Cell],
    options: Sequence[str] = (),
    workers: Optional[int] = None,
    ray: Optional[str] = None,
) -> None:
    """Make the data and train the teachers that a set of cells lacks.

    Raises:
        RuntimeError: If the training of a teacher failed.
        FileExistsError: If a teacher was trained with other options.
    """
    if cells.make_digits:
        make_digits(cells.make_digits)
    if not cells.train_teachers:
        return
    jobs: Dict[str, Job] = {}
    for cell in chosen:
        checkpoint = cells.teacher_of(cell.pair)['checkpoint']
        if '::' not in checkpoint:
            jobs[checkpoint] = teacher_job(cells, cell.pair, options)
    lacking = {k: job for k, job in jobs.items() if not Path(k).is_file()}
    for job in jobs.values():
        job.claim()
    if lacking:
        names = ', '.join(job.name for job in lacking.values())
        print(f'trained first: {names}', flush=True)
        run_jobs(list(lacking.values()), make_pool(workers, ray))
    for checkpoint, job in lacking.items():
        export_student(noted_checkpoint(job.folder), checkpoint)


def teacher_job(cells: CellSet, pair: str, options: Sequence[str] = ()) -> Job:
    """The training of the teacher of a pair, with seed 0.

    It is beside its checkpoint.
    """
    teacher = cells.teacher_of(pair)
    return Job(
        f'teacher_{pair_names(pair)[0]}',
        0,
        teacher['config'],
        Path(teacher['checkpoint']).with_suffix(''),
        METRICS[cells.kind.metric].key,
        tuple(for_teacher(options)),
    )


def for_teacher(options: Sequence[str]) -> List[str]:
    """Options of a command but for those of the student's model and hooks."""
    return [x for x in options if not x.startswith(('model.', 'custom_hooks'))]
