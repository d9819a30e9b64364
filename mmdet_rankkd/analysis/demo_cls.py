"""The classification demo: every logit method on the digits, three seeds."""

import json
import shutil
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Dict, List, Optional, Sequence

import matplotlib
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import Tensor

from mmdet_rankkd.checkpoint.build import build_model
from mmdet_rankkd.checkpoint.export import student_config, student_weights
from mmdet_rankkd.checkpoint.load import load_weights
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.losses import kendall_tau

from .cells import CONFIGS
from .demo import format_table
from .report import COLORS, STYLE, to_image, to_table
from .scalars import read_scalars, train_curve, val_curve
from .sweep import cells_of, plan, read_sweep, run_sweep

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

TEACHER = CONFIGS / 'digits_cls/resnet14x2_digits-cls'
ALIGNED = ('student alone', 'KD', 'KD + ranking', 'ranking')


def load_classifier(config: Config, checkpoint: Path) -> Any:
    """The plain classifier of a config, with the weights of a checkpoint."""
    model = build_model(student_config(config))
    state = read_checkpoint(str(checkpoint))['state_dict']
    load_weights(model, student_weights(state)[0], str(checkpoint))
    return model.eval()


def validation_images(config: Config) -> Dict[str, Tensor]:
    """Raw images and labels of a config's validation set."""
    data = DATASETS.build(config.val_dataloader.dataset)
    items = [data[i] for i in range(len(data))]
    return dict(
        inputs=torch.stack([x['inputs'] for x in items]),
        labels=torch.cat([x['data_samples'].gt_label for x in items]),
    )


@torch.no_grad()
def logits_of(model: Any, images: Tensor) -> Tensor:
    """Logits of raw images, as the model's own preprocessor shows them."""
    parts = []
    for part in images.split(200):
        data = model.data_preprocessor(dict(inputs=part))
        parts.append(model(data['inputs'], mode='tensor'))
    return torch.cat(parts)


def ranks(logits: Tensor) -> Tensor:
    """Rank of each class in its row, 0 for the highest logit."""
    return logits.argsort(1, descending=True).argsort(1)


def alignment(student: Tensor, teacher: Tensor) -> np.ndarray:
    """How often the student gives rank y to the teacher's class of rank x.

    Returns:
        ndarray: Shape (C, C), row y, column x; each column sums to 1.
    """
    count = student.shape[1]
    index = ranks(student) * count + ranks(teacher)
    table = torch.bincount(index.flatten(), minlength=count * count)
    table = table.view(count, count).double()
    return (table / table.sum(0)).numpy()


def collect(
    sweep: Dict[str, Any],
    rows: Sequence[str],
    seeds: Sequence[int],
    out: Path,
) -> Dict[str, List[Dict[str, Any]]]:
    """Results, curves and logits of every run, by row of the table."""
    config = Config.fromfile(f'{TEACHER}.py')
    data = validation_images(config)
    teacher = load_classifier(config, Path(f'{TEACHER}.pth'))
    target = logits_of(teacher, data['inputs'])
    right = (target.argmax(1) == data['labels']).double().mean().item()
    found: Dict[str, List[Dict[str, Any]]] = {
        'teacher': [dict(top1=100 * right, parameters=count(teacher))]
    }
    for row in rows:
        (cell,) = cells_of(sweep, row, 'top-1')
        found[row] = []
        for seed in seeds:
            folder = out / cell.name / f'seed{seed}'
            result = json.loads((folder / 'result.json').read_text())
            checkpoint = (folder / 'last_checkpoint').read_text().strip()
            student = load_classifier(
                Config.fromfile(out / 'configs' / f'{cell.name}.py'),
                Path(checkpoint),
            )
            logits = logits_of(student, data['inputs'])
            entries = read_scalars(folder)
            found[row].append(
                dict(
                    seed=seed,
                    top1=result['last']['accuracy/top1'],
                    top5=result['last']['accuracy/top5'],
                    best=result['best']['accuracy/top1'],
                    minutes=result['minutes'],
                    tau=kendall_tau(logits, target).mean().item(),
                    parameters=count(student),
                    curve=val_curve(entries, 'accuracy/top1'),
                    train_tau=train_curve(entries, 'kendall_tau'),
                    alignment=alignment(logits, target),
                )
            )
    return found


def count(model: Any) -> float:
    """Parameters in millions."""
    return sum(p.numel() for p in model.parameters()) / 1e6


def with_deviation(values: Sequence[float], digits: int = 1) -> str:
    """``mean ± standard deviation``."""
    text = f'{mean(values):.{digits}f}'
    if len(values) > 1:
        text += f' ± {stdev(values):.{digits}f}'
    return text


def result_rows(found: Dict[str, List[Dict[str, Any]]]) -> List[List[str]]:
    """The table, header first."""
    rows = [['', 'top-1', 'best', 'top-5', 'tau', 'params (M)', 'min']]
    for name, runs in found.items():
        if name == 'teacher':
            facts = runs[0]
            cells = [f'{facts["top1"]:.1f}', '', '', '']
            cells += [f'{facts["parameters"]:.3f}', 'shipped']
        else:
            cells = [
                with_deviation([r[k] for r in runs])
                for k in ('top1', 'best', 'top5')
            ]
            cells += [
                with_deviation([r['tau'] for r in runs], 3),
                f'{runs[0]["parameters"]:.3f}',
                f'{sum(r["minutes"] for r in runs):.1f}',
            ]
        rows.append([name, *cells])
    return rows


def verdict(found: Dict[str, List[Dict[str, Any]]]) -> str:
    """Differences seed by seed, and what they are worth."""
    lines = []
    for name, other in (
        ('KD', 'student alone'),
        ('KD + ranking', 'student alone'),
        ('KD + ranking', 'KD'),
    ):
        if name in found and other in found:
            gains = [
                a['top1'] - b['top1']
                for a, b in zip(found[name], found[other])
            ]
            each = ', '.join(f'{g:+.1f}' for g in gains)
            lines.append(
                f'{name} against {other}: {with_deviation(gains)} points of '
                f'top-1 ({each}, by seed)'
            )
    lines.append(
        'Twenty epochs of 640 images: a working example, not evidence for '
        'a method.'
    )
    return '\n'.join(lines)


def draw_curves(found: Dict[str, List[Dict[str, Any]]]) -> Any:
    """Validation accuracy and tau in training, means over the seeds."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4))
    names = [n for n in found if n != 'teacher']
    colors = plt.get_cmap('tab10')
    for axis, key, title in (
        (axes[0], 'curve', 'top-1 on the validation images'),
        (axes[1], 'train_tau', 'tau to the teacher in training'),
    ):
        for i, name in enumerate(names):
            curves = [r[key] for r in found[name] if r[key]]
            if not curves:
                continue
            steps = [x for x, _ in curves[0]]
            values = np.array([[y for _, y in c] for c in curves])
            middle = values.mean(0)
            axis.plot(steps, middle, color=colors(i), label=name, lw=1.6)
            if len(values) > 1:
                axis.fill_between(
                    steps,
                    values.min(0),
                    values.max(0),
                    color=colors(i),
                    alpha=0.12,
                    lw=0,
                )
        axis.set_title(title, fontsize=11)
        axis.set_xlabel('iteration')
        axis.grid(alpha=0.25)
        for side in ('top', 'right'):
            axis.spines[side].set_visible(False)
    axes[0].axhline(
        found['teacher'][0]['top1'],
        ls='--',
        lw=1.2,
        color=COLORS[0],
        label='teacher',
    )
    axes[0].legend(fontsize=8, ncol=2)
    figure.tight_layout()
    return figure


def draw_alignment(found: Dict[str, List[Dict[str, Any]]]) -> Any:
    """The paper's Figure 7: student's rank of the teacher's n-th class."""
    names = [n for n in ALIGNED if n in found]
    figure, axes = plt.subplots(
        1, len(names), figsize=(4.2 * len(names), 4.4), squeeze=False
    )
    for axis, name in zip(axes[0], names):
        runs = found[name]
        table = np.mean([r['alignment'] for r in runs], 0)
        image = axis.imshow(
            np.sqrt(table), cmap='magma', vmin=0, vmax=0.5, origin='lower'
        )
        tau = with_deviation([r['tau'] for r in runs], 3)
        axis.set_title(f'{name}\ntau {tau}', fontsize=11)
        axis.set_xlabel("rank in the teacher's logits")
    axes[0][0].set_ylabel("rank in the student's logits")
    bar = figure.colorbar(image, ax=axes[0].tolist(), shrink=0.75)
    bar.set_ticks([0, 0.1**0.5, 0.25**0.5])
    bar.set_ticklabels(['0', '10 %', '25 %'])
    bar.set_label('share of the images')
    return figure


def write_report(
    found: Dict[str, List[Dict[str, Any]]], rows: List[List[str]], path: Path
) -> Path:
    """One HTML file with table and pictures."""
    curves = to_image(draw_curves(found), path.with_name('curves.png'))
    aligned = to_image(draw_alignment(found), path.with_name('alignment.png'))
    notes = verdict(found).replace('\n', '<br>')
    path.write_text(f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>mmdet_rankkd classification demo</title><style>{STYLE}</style>
<h1>Distilling a small ResNet into a smaller one, 80 classes</h1>
<p>Handwritten digits in colours, cut from images of the detection demo,
32 x 32 pixels; 640 training images. All students start from scratch and see
the same data in the same order. tau is Kendall's coefficient between the
logits of student and teacher on the validation images.</p>
{to_table(rows)}<p class="note">{notes}</p>
<h2>Curves</h2>{curves}
<h2>Rank alignment</h2><p class="note">As in the paper's Figure 7: bright on
the diagonal where the student orders the classes as the teacher does.</p>
{aligned}</html>
""")
    return path


def run_demo_cls(
    rows: Optional[Sequence[str]] = None,
    seeds: Sequence[int] = (0, 1, 2),
    out: str = 'work_dirs/demo_cls',
    options: Sequence[str] = (),
    workers: Optional[int] = None,
) -> Path:
    """Train every method with every seed, compare, and write the report.

    Args:
        rows (Sequence[str], optional): Of ``configs/sweeps/demo_cls.py``.
        seeds (Sequence[int]): Every method runs with each of them.
        out (str): Folder; what an earlier demo left there is replaced.
        options (Sequence[str]): ``KEY=VALUE`` overrides for the trainings.
        workers (int, optional): Trainings at a time.

    Returns:
        Path: The report.
    """
    start = time.time()
    folder = Path(out)
    sweep = read_sweep('demo_cls')
    rows = list(rows or sweep['rows'])
    cells = plan(sweep, rows)
    for cell in cells:
        if (folder / cell.name / 'seed0/options.json').is_file():
            shutil.rmtree(folder / cell.name)
        (folder / 'configs' / f'{cell.name}.py').unlink(missing_ok=True)
    run_sweep(sweep, cells, seeds, folder, options, workers)
    found = collect(sweep, rows, seeds, folder)
    table = result_rows(found)
    print('\n' + format_table(table) + '\n\n' + verdict(found) + '\n')
    report = write_report(found, table, folder / 'report.html')
    print(f'report: {report}   ({(time.time() - start) / 60:.1f} min in all)')
    return report
