"""The demos: a table of trainings on the digits, and a report on it."""

import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from mmdet_rankkd.checkpoint.read import locate_file
from mmdet_rankkd.engine.cost import RUNS, Cost
from mmdet_rankkd.losses import kendall_tau

from . import sweep
from .alignment import alignment, draw_alignment, logits_of, validation_images
from .cells import TEACHER, read_config
from .detections import draw_detections
from .explore.page import Settings, explore_runs
from .explore.runs import Run
from .metrics import METRICS
from .models import checkpoint_of, cost_of, load_job
from .report import Panel, Picture, Report, draw_curves
from .result import FILE, Result, Results, read_result
from .scheduler import run_jobs
from .summary import (
    Grid,
    difference_grid,
    figure_grid,
    to_text,
    verdict,
    with_deviation,
)
from .table import TABLES, Table, read_table
from .training import OPTIONS, Job

#: Rows that get more seeds, if they end within so many minutes in all.
REPEATED = ('KD', 'KD + ranking')
MORE_SEEDS = (1, 2)
MINUTES = 10.0
#: What the report takes of them.
REPORT_MINUTES = 1.0
#: Of more seeds only the end counts.
AT_END = 'train_cfg.val_interval=1000'
#: Images of the page on what the detectors find.
EXPLORED = 200
#: Rows of the report's rank alignment, if they were trained.
ALIGNED = ('student alone', 'KD', 'KD + ranking', 'ranking')
DETECTION_TEXT = (
    '80 classes of handwritten digits (10 digits in 8 colours), trained from '
    "scratch through MMEngine's Runner, evaluated by COCOeval. The teacher is "
    'ResNet-50 in depth and a quarter of it in width, the student MobileNetV2 '
    'at half width; all students of one seed have the same data order and '
    "budget. tau is Kendall's coefficient between the class logits of student "
    'and teacher '
)
CLASSIFICATION_TEXT = (
    '80 classes of handwritten digits in colours, cut from images of the '
    'detection demo, 32 x 32 pixels. All students start from scratch; those '
    "of one seed see the same data in the same order. tau is Kendall's "
    'coefficient between the logits of student and teacher on the validation '
    'images.'
)


@dataclass
class Demo:
    """What a demo trained.

    Attributes:
        table (Table): Table of its rows.
        jobs (dict): Those of each row, one a seed.
        found (dict): Their results.
        teacher (Job): The test of the teacher.
        tested (Result): Its result.
    """

    table: Table
    jobs: Dict[str, List[Job]]
    found: Dict[str, List[Result]]
    teacher: Job
    tested: Result

    @property
    def results(self) -> Results:
        """Results by name of the cell and by seed."""
        return {
            runs[0].name: {run.seed: run for run in runs}
            for runs in self.found.values()
        }

    @property
    def two_stage(self) -> bool:
        """Whether boxes are compared, not the locations of a dense head."""
        logits = self.table.cells.logits_of(pair_of(self.table)) or {}
        return logits.get('type') == 'mmdet_rankkd.RoILogits'


def detectors() -> List[str]:
    """Names of the detectors that there is a demo of."""
    names = sorted(p.stem for p in TABLES.glob('demo_*.py'))
    return [n.removeprefix('demo_') for n in names if n != 'demo_cls']


def pair_of(table: Table) -> str:
    """The pair of networks of a demo's table."""
    return next(iter(table.columns.values())).all_pairs[0]


def run_demo(
    name: str,
    rows: Optional[Sequence[str]] = None,
    seeds: Optional[Sequence[int]] = None,
    out: Optional[str] = None,
    options: Sequence[str] = (),
    workers: Optional[int] = None,
) -> Path:
    """Make the data, train, compare, and write the report.

    Args:
        name (str): Table in ``configs/sweeps``, with a single pair.
        rows (Sequence[str], optional): Rows of the table, by title or method.
        seeds (Sequence[int], optional): Those of the table by default, and
            of detectors ``MORE_SEEDS`` of the rows ``REPEATED`` as well, if
            all then takes at most ``MINUTES``.
        out (str, optional): Folder of logs, checkpoints and the report; what
            an earlier demo left there is replaced. ``work_dirs/<name>`` by
            default.
        options (Sequence[str]): ``KEY=VALUE`` overrides for the trainings.
        workers (int, optional): Trainings at a time.

    Returns:
        Path: The report.

    Raises:
        FileExistsError: If the folder of a training is not of a demo.
        RuntimeError: If a training failed.
    """
    start = time.time()
    table = read_table(name)
    folder = Path(out or f'work_dirs/{name}')
    chosen = [x for x in table.find_rows(rows) if not table.is_tested(x)]
    detection = table.cells.task == 'detection'
    more = () if seeds or not detection else MORE_SEEDS
    seeds = list(seeds or table.seeds)
    cells = {row: table.plan([row])[0] for row in chosen}
    (tested,) = table.plan([TEACHER])
    for cell in (tested, *cells.values()):
        for seed in (0,) if cell is tested else (*seeds, *more):
            clear(folder / cell.name / f'seed{seed}')
        (folder / 'configs' / f'{cell.name}.py').unlink(missing_ok=True)
    (teacher,) = sweep.jobs_of(table, [tested], seeds, folder, options)
    jobs = {
        row: sweep.jobs_of(table, [cell], seeds, folder, options)
        for row, cell in cells.items()
    }
    everything = [teacher, *(job for group in jobs.values() for job in group)]
    print(
        f'{table.title}\n{len(everything) - 1} trainings, and the test of the '
        f'teacher; results in {folder}',
        flush=True,
    )
    slots = workers or workers_for(len(everything))
    sweep.prepare(table.cells, list(cells.values()), options, slots)
    run_jobs(everything, sweep.make_pool(slots))
    again = {
        row: sweep.jobs_of(table, [cell], more, folder, [*options, AT_END])
        for row, cell in cells.items()
        if more and row in REPEATED
    }
    left = MINUTES - REPORT_MINUTES - (time.time() - start) / 60
    if again and minutes_of(again, jobs) < left:
        print(f'as there is time: seeds {more} of {", ".join(again)}')
        added = [job for group in again.values() for job in group]
        slots = workers or workers_for(len(added))
        run_jobs(added, sweep.make_pool(slots))
        jobs = {row: group + again.get(row, []) for row, group in jobs.items()}
        everything += added
    demo = Demo(
        table,
        jobs,
        {
            row: [read_result(job.folder / FILE) for job in group]
            for row, group in jobs.items()
        },
        teacher,
        read_result(teacher.folder / FILE),
    )
    page = explore_demo(demo, folder) if detection else None
    report = make_report(demo, page)
    path = report.write(folder / 'report.html')
    for grid in report.grids:
        print('\n' + to_text(grid))
    print(f'\n{report.notes}\n')
    minutes = (time.time() - start) / 60
    print(f'report: {path}   ({minutes:.1f} min in all)')
    if page is not None:
        print(f'what the detectors find, to explore: {page}')
    print('checkpoints: ' + ', '.join(str(j.folder) for j in everything[1:]))
    return path


def minutes_of(
    again: Dict[str, List[Job]], jobs: Dict[str, List[Job]]
) -> float:
    """How long more seeds will take, by what the first took of each row."""
    total = sum(
        len(group) * read_result(jobs[row][0].folder / FILE).cpu_minutes
        for row, group in again.items()
    )
    return total / (os.cpu_count() or 1)


def workers_for(count: int) -> Optional[int]:
    """Trainings at a time: a few share the cores, so that all end together."""
    cores = os.cpu_count() or 1
    if torch.cuda.is_available() or count > 2 * cores:
        return None
    return count


def clear(folder: Path) -> None:
    """Remove a training of an earlier demo, and nothing else.

    Raises:
        FileExistsError: If the folder holds something else.
    """
    if (folder / OPTIONS).is_file():
        shutil.rmtree(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise FileExistsError(
            f'{folder} is not of an earlier demo; move it away or choose '
            'another folder with --out'
        )


def explore_demo(demo: Demo, folder: Path) -> Path:
    """The page of ``rankkd report`` on the students and the teacher."""
    jobs = [(row, job) for row, group in demo.jobs.items() for job in group]
    runs = [
        Run(
            row,
            job.seed,
            job.folder,
            Path(locate_file(job.config, 'config')),
            Path(locate_file(checkpoint_of(job), 'checkpoint')),
        )
        for row, job in [*jobs, ('teacher', demo.teacher)]
    ]
    # Its score is where the pictures of the report begin.
    settings = Settings(limit=EXPLORED, score=threshold(demo))
    return explore_runs(runs, folder / 'detections.html', settings, force=True)


def threshold(demo: Demo) -> float:
    """Scores above it are shown; those of dense heads are lower."""
    return 0.3 if demo.two_stage else 0.15


def make_report(demo: Demo, page: Optional[Path] = None) -> Report:
    """Tables, verdict, curves, pictures of the task, and configs.

    Args:
        demo (Demo): What was trained.
        page (Path, optional): That of ``rankkd report`` beside it.
    """
    table = demo.table
    detection = table.cells.task == 'detection'
    pictures = [detections(demo)] if detection else align(demo)
    text = CLASSIFICATION_TEXT
    grids = [demo_grid(demo)]
    if detection:
        text = DETECTION_TEXT + (
            'on the ground-truth boxes of the validation images.'
            if demo.two_stage
            else 'at the ten locations of each validation image where the '
            'teacher is most confident.'
        )
    compared = difference_grid(table, demo.results, list(demo.found))
    if len(compared) > 1:
        grids.append(compared)
    if detection and demo.two_stage:
        grids.append(paper_grid(read_table('table5')))
    text += (
        ' GFLOPs and milliseconds are those of one image on this machine, the '
        f'latter the median of {RUNS} runs.'
    )
    counts = sorted({len(runs) for runs in demo.found.values()})
    count = ' or '.join('one' if n == 1 else str(n) for n in counts)
    notes = (
        f'{verdict(table, demo.results, list(demo.found))}\n'
        f'That is {count} {"seed" if counts == [1] else "seeds"} of a small '
        'set: a working example, not evidence for a method.'
    )
    if counts == [1]:
        notes += ' `--seeds 0 1 2` trains more.'
    configs = {
        'teacher': demo.teacher,
        **{row: jobs[0] for row, jobs in demo.jobs.items()},
    }
    return Report(
        table.title,
        text,
        grids,
        notes.strip(),
        [Picture('curves', 'Curves', curves(demo)), *pictures],
        {
            f'{name}: {Path(job.config).name}': read_config(job.config)
            for name, job in configs.items()
        },
        [] if page is None else [('What the detectors find', page.name)],
    )


def demo_grid(demo: Demo) -> Grid:
    """The table with the teacher, the costs and processor time."""
    table = demo.table
    grid = figure_grid(table, demo.results, list(demo.found))
    grid[0] += ['params (M)', 'GFLOPs', 'ms per image', 'CPU min']
    row = ['teacher']
    for column, place in table.columns.items():
        metric = table.metric(column)
        value = metric.read(demo.tested.last)
        known = value is not None and place.epoch != 'best'
        row.append(f'{value:.{table.decimals}f}' if known else '')
    grid.insert(1, [*row, *cost_cells(cost_of(demo.teacher)), ''])
    # A demo has one student, whatever it is trained with.
    student = cost_of(next(iter(demo.jobs.values()))[0])
    for line, runs in zip(grid[2:], demo.found.values()):
        minutes = sum(run.cpu_minutes for run in runs)
        line += [*cost_cells(student), f'{minutes:.1f}']
    return grid


def cost_cells(cost: Cost) -> List[str]:
    """Parameters, operations and the median of the latencies."""
    return [
        f'{cost.parameters / 1e6:.3f}',
        f'{cost.flops / 1e9:.3f}',
        f'{cost.latency[1]:.1f}',
    ]


def paper_grid(table: Table) -> Grid:
    """The paper's numbers alone."""
    return [[f'paper: {table.title.split(",")[0]}', *table.columns]] + [
        [row, *('' if x is None else f'{x:.2f}' for x in numbers)]
        for row, numbers in table.paper.items()
    ]


def curves(demo: Demo) -> Figure:
    """The metric, losses and tau during the trainings."""
    metric = METRICS[demo.table.cells.kind.metric]
    panels = [
        Panel(
            f'{metric.title} on the validation images',
            f'val/{metric.key}',
            metric.scale,
            metric.read(demo.tested.last),
        ),
        Panel('tau to the teacher, training', 'train/kendall_tau'),
    ]
    if demo.table.cells.task == 'detection':
        panels[1:1] = [
            Panel('tau to the teacher, validation', 'val/kendall_tau'),
            Panel('loss_cls, training', 'train/loss_cls'),
        ]
    # More seeds of some rows were tested at their end alone.
    shared = min(len(runs) for runs in demo.found.values())
    return draw_curves(
        panels, {row: runs[:shared] for row, runs in demo.found.items()}
    )


def detections(demo: Demo) -> Picture:
    """The same images by the teacher and by the first seed of each row."""
    assert demo.table.cells.make_digits is not None
    score = threshold(demo)
    models = {'teacher': load_job(demo.teacher)}
    models.update({row: load_job(jobs[0]) for row, jobs in demo.jobs.items()})
    root = Path(demo.table.cells.make_digits)
    return Picture(
        'detections',
        'Detections on the same images',
        draw_detections(models, root, score),
        f'Scores above {score}; of overlapping boxes the highest. Dashed: '
        'a class that is not in the image.',
    )


def align(demo: Demo) -> List[Picture]:
    """Rank alignment; the tau of each student is kept with its result."""
    images = validation_images(read_config(demo.teacher.config))
    target = logits_of(load_job(demo.teacher), images)
    shown = {}
    for row, jobs in demo.jobs.items():
        logits = [logits_of(load_job(job), images) for job in jobs]
        taus = [kendall_tau(x, target).mean().item() for x in logits]
        demo.found[row] = [
            replace(run, last={**run.last, 'kendall_tau': tau})
            for run, tau in zip(demo.found[row], taus)
        ]
        for job, run in zip(jobs, demo.found[row]):
            run.write(job.folder)
        if row in ALIGNED:
            tables = [alignment(x, target) for x in logits]
            shown[row] = (np.mean(tables, 0), with_deviation(taus, 3))
    if not shown:
        return []
    return [
        Picture(
            'alignment',
            'Rank alignment',
            draw_alignment(shown),
            "As in the paper's Figure 7: bright on the diagonal where the "
            'student orders the classes as the teacher does.',
        )
    ]
