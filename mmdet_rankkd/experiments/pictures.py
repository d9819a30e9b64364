"""A page of figures made of the trainings of one sweep."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.registry import DATASETS

from mmdet_rankkd.losses import kendall_tau

from . import figures as f
from .alignment import alignment, draw_alignment, logits_of, validation_images
from .cells import read_config
from .demo import ALIGNED, pair_of, teacher_test
from .metrics import METRICS
from .models import load_job
from .report import Panel, draw_curves
from .result import read_results
from .sweep import jobs_of
from .table import read_table


def write_figures(sweep: str, folder: Path, seed: int, out: Path) -> Path:
    """Draw, keep the numbers behind each picture, and write ``figures.md``.

    Args:
        sweep (str): Table of classifiers with a single pair.
        folder (Path): Its results and checkpoints.
        seed (int): Of the networks that are loaded.
        out (Path): Folder of the page; pictures are in ``figures`` below it.

    Returns:
        Path: The page.

    Raises:
        ValueError: If the table is none of classifiers, or nothing of it was
            trained with the seed.
    """
    table = read_table(sweep)
    if table.cells.task != 'classification':
        raise ValueError(f'{sweep} is not a table of classifiers')
    column = next(iter(table.columns))
    results = read_results(folder)
    cells = {row: table.cells_of(row, column) for row in table.rows}
    trained = {
        row: cell[0]
        for row, cell in cells.items()
        if cell and seed in results.get(cell[0].name, {})
    }
    if not trained:
        raise ValueError(f'no result with seed {seed} of {sweep} in {folder}')
    teacher = teacher_test(table, folder)
    config = read_config(teacher.config)
    images = validation_images(config)
    data = DATASETS.build(config.val_dataloader.dataset)
    labels = torch.cat([x['data_samples'].gt_label for x in data])
    target = logits_of(load_job(teacher), images)
    logits = {}
    for row, cell in trained.items():
        options = next(iter(results[cell.name].values())).options
        job = jobs_of(table, [cell], [seed], folder, options)[0]
        logits[row] = logits_of(load_job(job), images)
    (out / 'figures').mkdir(parents=True, exist_ok=True)
    first = results[next(iter(trained.values())).name][seed]
    parts = [
        '# Figures of the paper, from our own trainings',
        f'Trained: {table.title}; pair {pair_of(table)}; {len(labels)} '
        f'validation images; networks of seed {seed}. Device: '
        f'{first.device}; commit {first.commit}.',
        f'```bash\npython tools/sweep.py {table.name} --seeds {seed} --out '
        f'work_dirs/{table.name}\npython tools/figures.py {table.name} '
        f'--results work_dirs/{table.name} --seed {seed}\n```',
    ]

    def add(
        name: str, title: str, numbers: Any, figure: Figure, text: str
    ) -> None:
        figure.savefig(out / f'figures/{name}.png', dpi=90)
        plt.close(figure)
        content = dict(caption=text, numbers=numbers)
        (out / f'figures/{name}.json').write_text(
            json.dumps(content, default=plain)
        )
        parts.append(f'## {title}\n\n![{title}](figures/{name}.png)\n\n{text}')

    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.stack(
        [x[torch.randperm(len(x), generator=generator)] for x in target]
    )
    slopes = f.gradients(shuffled, target)
    add(
        'gradients',
        "Gradients by the teacher's rank (Figure 3)",
        asdict(slopes),
        f.draw_gradients(slopes),
        "Student's logits: the teacher's, shuffled in each row. "
        + f.caption_gradients(slopes),
    )
    if len(logits) > 1:
        both = f.agreement(logits, target, labels)
        add(
            'agreement',
            'Agreement of KL and of tau with accuracy',
            asdict(both),
            f.draw_agreement(both),
            f.caption_agreement(both),
        )
    values = f.settings(table, results, list(table.rows), column)
    add(
        'settings',
        'Gamma, k, top and min channels (Figure 4, Tables 6 and 7)',
        asdict(values),
        f.draw_settings(values, 'Settings of the ranking loss'),
        f.caption_settings(values),
    )
    shown: List[str] = [row for row in ALIGNED if row in trained]
    if shown:
        taus = {x: kendall_tau(logits[x], target).mean().item() for x in shown}
        squares = {
            x: (alignment(logits[x], target), f'{taus[x]:.3f}') for x in shown
        }
        add(
            'alignment',
            'Rank alignment (Figure 7)',
            taus,
            draw_alignment(squares),
            'Bright on the diagonal where ranks agree; tau '
            + ', '.join(f'{x} {taus[x]:.3f}' for x in shown)
            + '.',
        )
        runs = {x: list(results[trained[x].name].values()) for x in shown}
        metric = METRICS[table.cells.kind.metric]
        curve = f'val/{metric.key}'
        panels = [
            Panel(f'{metric.title} (%), validation', curve, metric.scale),
            Panel('tau to the teacher, training', 'train/kendall_tau'),
        ]
        last: Dict[str, float] = {
            x: float(np.mean([r.curves[curve][-1][1] for r in y]))
            for x, y in runs.items()
        }
        add(
            'curves',
            'Training curves (Figure 5)',
            {x: [r.curves for r in y] for x, y in runs.items()},
            draw_curves(panels, runs),
            f'{metric.title} at the end: '
            + ', '.join(f'{x} {y:.1f}' for x, y in last.items())
            + '.',
        )
    page = out / 'figures.md'
    page.write_text('\n\n'.join(parts) + '\n')
    return page


def plain(value: np.ndarray) -> list:
    """An array for JSON."""
    return np.round(value, 8).tolist()
