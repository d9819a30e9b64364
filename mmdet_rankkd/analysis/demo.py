"""The demo: teacher, student alone and distilled, compared on the digits."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from mmengine.config import Config

import mmdet_rankkd
from mmdet_rankkd.datasets import make_digits

from .scalars import read_scalars, train_curve, val_curve

PACKAGE = Path(mmdet_rankkd.__file__).parent / '.mim'
CONFIGS = PACKAGE / 'configs/digits'
DETECTORS = {
    'faster-rcnn': 'Faster R-CNN',
    'retinanet': 'RetinaNet',
    'fcos': 'FCOS',
    'atss': 'ATSS',
    'gfl': 'GFL',
    'rtmdet': 'RTMDet',
}
KD = dict(type='mmdet_rankkd.KLDivLoss', temperature=1.0, loss_weight=1.0)
BINARY_KD = dict(
    type='mmdet_rankkd.BinaryKLDivLoss', temperature=1.0, loss_weight=1.0
)
RANK = dict(type='mmdet_rankkd.KendallRankLoss', k=1.0, loss_weight=1.0)
CTKD = dict(type='mmdet_rankkd.CTKDLoss', length=28, by_epoch=False)
FITNET = dict(
    type='mmdet_rankkd.FitNetLoss', levels=(0, 1, 2, 3), loss_weight=1.0
)
FGFI = dict(type='mmdet_rankkd.FGFILoss', levels=(0, 1, 2, 3))
REVIEWKD = dict(
    type='mmdet_rankkd.ReviewKDLoss',
    first=0,
    pooled=False,
    max_mid=64,
    loss_weight=2.0,
)
#: Name in the tables and losses of each method.
METHODS: Dict[str, Any] = {
    'alone': ('student alone', []),
    'kd': ('KD', [KD]),
    'rank': ('ranking', [RANK]),
    'kd+rank': ('KD + ranking', [KD, RANK]),
    'ctkd': ('CTKD', [CTKD]),
    'fitnet': ('FitNet', [FITNET]),
    'fgfi': ('FGFI', [FGFI]),
    'reviewkd': ('ReviewKD', [REVIEWKD]),
}
#: Table 5 of the paper: COCO, ResNet-50 to MobileNetV2 (AP, AP50, AP75).
PAPER = [
    ('KD', 30.13, 50.28, 31.35),
    ('FitNet', 30.20, 49.80, 31.69),
    ('FGFI', 31.16, 50.68, 32.92),
    ('CTKD', 31.39, 52.34, 31.35),
    ('KD + ranking', 31.99, 53.80, 33.37),
]
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75')


@dataclass
class Run:
    """One training, or the test of the teacher, in a process of its own."""

    label: str
    config: Path
    work_dir: Path
    command: List[str]
    seed: Optional[int] = None  # None for the teacher's test
    checkpoint: Optional[Path] = None  # of the teacher
    process: Optional[subprocess.Popen] = None
    cpu_minutes: float = 0.0
    result: Dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        """Start it with one thread: more do not make these nets faster."""
        self.work_dir.mkdir(parents=True, exist_ok=True)
        env = dict(os.environ, OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
        with open(self.work_dir / 'output.log', 'w') as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, env=env
            )

    def poll(self) -> bool:
        """Whether it is over; raises if it failed."""
        assert self.process is not None
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid == 0:
                return False
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_minutes = (usage.ru_utime + usage.ru_stime) / 60
        if self.process.returncode:
            log = self.work_dir / 'output.log'
            tail = log.read_text(errors='replace').splitlines()[-15:]
            raise RuntimeError(
                f'"{self.label}" failed, see {log}\n' + '\n'.join(tail)
            )
        return True

    def progress(self) -> str:
        """Iteration and newest AP, for the progress line."""
        if self.seed is None:
            return f'{self.label}: test'
        entries = read_scalars(self.work_dir)
        steps = [e['step'] for e in entries if 'lr' in e]
        aps = val_curve(entries, 'coco/bbox_mAP')
        ap = f' AP {aps[-1][1]:.3f}' if aps else ''
        return f'{self.label}: {steps[-1] if steps else 0:.0f}{ap}'


def teacher_of(detector: str) -> Path:
    """Config of the digits teacher of a detector."""
    return CONFIGS / f'{detector}_r50-quarter_fpn_digits.py'


def compose(
    detector: str, method: str, checkpoint: Path, folder: Path
) -> Path:
    """Write the config of a student of the digits set that is distilled.

    Args:
        detector (str): Of ``DETECTORS``.
        method (str): Of ``METHODS``.
        checkpoint (Path): The teacher's weights.
        folder (Path): Where to write it.

    Returns:
        Path: The config, which MMDetection's tools can also be given.
    """
    student = CONFIGS / f'{detector}_mobilenet-v2-half_fpn_digits.py'
    teacher = dict(
        config=str(teacher_of(detector).resolve()),
        checkpoint=str(checkpoint.resolve()),
    )
    dense = detector != 'faster-rcnn'
    logits = dict(
        type=f'mmdet_rankkd.{"DenseLogits" if dense else "RoILogits"}'
    )
    tau = dict(
        type='mmdet_rankkd.TauHook',
        teacher=teacher,
        logits=logits,
        max_batches=10,
    )
    lines = [
        f'_base_ = {str(student.resolve())!r}',
        '# All trainings of the demo fit into its time.',
        'train_dataloader = dict(dataset=dict(indices=1760))',
        f'custom_hooks = [{tau!r}]',
    ]
    losses = METHODS[method][1]
    if dense:
        losses = [BINARY_KD if loss is KD else loss for loss in losses]
    if losses:
        lines.append(
            "model = dict(_delete_=True, type='mmdet_rankkd.DistillDetector', "
            f'student=_base_.model, teacher={teacher!r}, logits={logits!r}, '
            f'losses={losses!r})'
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{detector}_{method.replace("+", "-")}.py'
    path.write_text('\n'.join(lines) + '\n')
    return path


def training(
    label: str, config: Path, work_dir: Path, seed: int, options: Sequence[str]
) -> Run:
    """A training of the demo."""
    command = [
        sys.executable,
        str(PACKAGE / 'tools/train.py'),
        str(config),
        '--work-dir',
        str(work_dir),
        '--cfg-options',
        f'randomness.seed={seed}',
        'default_hooks.logger.interval=25',
        'default_hooks.checkpoint.max_keep_ckpts=1',
        *options,
    ]
    return Run(label, config, work_dir, command, seed)


def plan(
    detector: str,
    checkpoint: Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    options: Sequence[str],
) -> List[Run]:
    """The teacher's test and every method with every seed."""
    config = teacher_of(detector)
    work_dir = out / 'teacher'
    command = [
        sys.executable,
        str(PACKAGE / 'tools/test.py'),
        str(config),
        str(checkpoint),
        '--work-dir',
        str(work_dir),
    ]
    runs = [Run('teacher', config, work_dir, command, None, checkpoint)]
    for seed in seeds:
        for method in methods:
            config = compose(detector, method, checkpoint, out / 'configs')
            work_dir = out / f'{method.replace("+", "-")}_seed{seed}'
            label = METHODS[method][0]
            runs.append(training(label, config, work_dir, seed, options))
    return runs


def ready_teacher(detector: str, out: Path, options: Sequence[str]) -> Path:
    """The teacher's checkpoint: the shipped one, or trained now, once."""
    if detector == 'faster-rcnn':
        return teacher_of(detector).with_suffix('.pth')
    work_dir = out / 'teacher_training'
    done = work_dir / 'last_checkpoint'
    if done.is_file():
        print(f'teacher: {done.read_text().strip()}, trained before')
        return Path(done.read_text().strip())
    print('teacher: a head is trained on the shipped backbone', flush=True)
    config = teacher_of(detector)
    run = training('teacher', config, work_dir, 0, options)
    clear(work_dir)
    run_all([run], 1)
    return Path(done.read_text().strip())


def run_all(runs: List[Run], workers: int) -> None:
    """Run them, so many at a time, with a line of progress."""
    waiting = list(runs)
    running: List[Run] = []
    start, shown = time.time(), 0.0
    tty = sys.stdout.isatty()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                run = waiting.pop(0)
                run.start()
                running.append(run)
            for run in list(running):
                if run.poll():
                    running.remove(run)
            if time.time() - shown > (2 if tty else 30):
                shown = time.time()
                minutes = (shown - start) / 60
                line = ' | '.join(r.progress() for r in running)
                print(
                    f'  {minutes:4.1f} min  {line}'[:150],
                    end='\033[K\r' if tty else '\n',
                    flush=True,
                )
            time.sleep(0.5)
    finally:
        for run in running:
            if run.process and run.process.returncode is None:
                run.process.terminate()
    if tty:
        print('\033[K', end='')


def collect(run: Run) -> None:
    """Fill ``run.result`` from the logs."""
    if run.seed is None:
        # MMEngine writes the metrics of a test beside its log.
        file = sorted(run.work_dir.glob('*/*.json'))[-1]
        test = json.loads(file.read_text())
        # MMDetection logs no AP for a detector that found nothing at all.
        run.result = {k: test.get(f'coco/{k}', 0.0) for k in METRICS}
        run.result['tau'] = 1.0
        return
    entries = read_scalars(run.work_dir)
    nothing = [(0.0, 0.0)]
    run.result = {
        k: (val_curve(entries, f'coco/{k}') or nothing)[-1][1] for k in METRICS
    }
    run.result['tau'] = val_curve(entries, 'kendall_tau')[-1][1]
    run.result['curves'] = dict(
        ap=val_curve(entries, 'coco/bbox_mAP'),
        tau=val_curve(entries, 'kendall_tau'),
        train_tau=train_curve(entries, 'kendall_tau'),
        loss_cls=train_curve(entries, 'loss_cls'),
    )


def count_parameters(config: Path) -> float:
    """Parameters, in millions, of the detector that a config would ship."""
    from mmdet_rankkd.checkpoint.build import build_model
    from mmdet_rankkd.checkpoint.export import student_config

    model = build_model(student_config(Config.fromfile(config)))
    return sum(p.numel() for p in model.parameters()) / 1e6


def table_rows(runs: List[Run]) -> List[List[str]]:
    """The cells of the result table, header first."""
    rows = [['', 'AP', 'AP50', 'AP75', 'tau', 'params (M)', 'CPU min']]
    for run in runs:
        name = run.label
        if (
            run.seed is not None
            and sum(r.label == run.label for r in runs) > 1
        ):
            name += f', seed {run.seed}'
        rows.append(
            [
                name,
                *(f'{100 * run.result[k]:.1f}' for k in METRICS),
                f'{run.result["tau"]:.3f}' if run.seed is not None else '-',
                f'{count_parameters(run.config):.2f}',
                f'{run.cpu_minutes:.1f}' if run.seed is not None else '-',
            ]
        )
    return rows


def paper_rows() -> List[List[str]]:
    """Table 5 of the paper in the form of :func:`table_rows`."""
    return [['paper, Table 5 (COCO)', 'AP', 'AP50', 'AP75']] + [
        [name, *(f'{x:.2f}' for x in figures)] for name, *figures in PAPER
    ]


def format_table(rows: List[List[str]]) -> str:
    """Left-aligned names, right-aligned figures."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = [
        '  '.join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths))
        )
        for row in rows
    ]
    lines.insert(1, '-' * len(lines[0]))
    return '\n'.join('  ' + line for line in lines)


def verdict(runs: List[Run]) -> str:
    """What the run shows, in words that claim no more than that."""
    seeds = sorted({r.seed for r in runs if r.seed is not None})
    aps = {(r.label, r.seed): 100 * r.result['bbox_mAP'] for r in runs}
    labels = list(dict.fromkeys(r.label for r in runs if r.seed is not None))
    alone, kd, both = (METHODS[m][0] for m in ('alone', 'kd', 'kd+rank'))
    lines = []
    for label, other in [(x, alone) for x in labels] + [(both, kd)]:
        gains = [
            f'{aps[label, seed] - aps[other, seed]:+.1f} AP'
            for seed in seeds
            if (label, seed) in aps and (other, seed) in aps
        ]
        if gains and label != other:
            lines.append(f'{label} against {other}: ' + ', '.join(gains))
    count = 'one seed' if len(seeds) == 1 else f'{len(seeds)} seeds'
    lines.append(
        f'That is {count} of a small set, where runs differ by several AP '
        'from seed to seed: a working example, not evidence for a method.'
    )
    return '\n'.join(lines)


def run_demo(
    methods: Sequence[str] = ('alone', 'kd', 'kd+rank'),
    seeds: Sequence[int] = (0,),
    out: Optional[str] = None,
    options: Sequence[str] = (),
    workers: Optional[int] = None,
    detector: str = 'faster-rcnn',
) -> Path:
    """Make the data, train, compare, and write the report.

    The teacher of Faster R-CNN is shipped; those of the other detectors are
    trained first, and kept for the next time.

    Args:
        methods (Sequence[str]): Of ``METHODS``.
        seeds (Sequence[int]): Every method runs with each of them.
        out (str, optional): Folder of logs, checkpoints and the report; what
            an earlier demo left there is replaced. By default
            ``work_dirs/demo``, with the name of another detector behind it.
        options (Sequence[str]): ``KEY=VALUE`` overrides for the trainings.
        workers (int, optional): Trainings at a time; one thread each. By
            default all, up to twice the number of cores.
        detector (str): Of ``DETECTORS``.

    Returns:
        Path: The report.
    """
    from .report import write_report

    start = time.time()
    suffix = '' if detector == 'faster-rcnn' else f'_{detector}'
    folder = Path(out or f'work_dirs/demo{suffix}')
    print('data: 80 classes of handwritten digits', flush=True)
    make_digits('data/digits')
    checkpoint = ready_teacher(detector, folder, options)
    runs = plan(detector, checkpoint, methods, seeds, folder, options)
    workers = workers or min(len(runs), 2 * (os.cpu_count() or 1))
    print(
        f'training: {len(runs) - 1} students, and the test of the teacher',
        flush=True,
    )
    for run in runs:
        clear(run.work_dir)
    run_all(runs, workers)
    for run in runs:
        collect(run)
    rows = table_rows(runs)
    print('\n' + format_table(rows) + '\n')
    if detector == 'faster-rcnn':
        print(format_table(paper_rows()) + '\n')
    print(verdict(runs) + '\n')
    report = write_report(runs, rows, folder / 'report.html', detector)
    minutes = (time.time() - start) / 60
    print(f'report: {report}   ({minutes:.1f} min in all)')
    print(
        'checkpoints: '
        + ', '.join(str(r.work_dir) for r in runs if r.seed is not None)
    )
    (folder / 'results.json').write_text(
        json.dumps(
            [
                dict(
                    label=r.label,
                    seed=r.seed,
                    cpu_minutes=r.cpu_minutes,
                    **r.result,
                )
                for r in runs
            ],
            indent=1,
        )
    )
    return report


def clear(work_dir: Path) -> None:
    """Remove logs and checkpoints of an earlier demo, and only those."""
    import shutil

    if (work_dir / 'output.log').is_file():
        shutil.rmtree(work_dir)
    elif work_dir.exists() and any(work_dir.iterdir()):
        raise FileExistsError(
            f'{work_dir} is not of an earlier demo; move it away or choose '
            'another folder with --out'
        )
