"""A page of figures made of the trainings of a sweep of classifiers."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple, Type

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from torch import Tensor

from mmdet_rankkd.checkpoint.latest import noted_checkpoint
from mmdet_rankkd.checkpoint.write import write_whole
from mmdet_rankkd.engine.launch import parse_options
from mmdet_rankkd.losses import kl_div_loss
from mmdet_rankkd.ops import standardize

from ..alignment import logits_of, validation_images
from ..cells import merge_options, pair_names, read_config
from ..models import load_model
from ..publish import environments
from ..result import Result, read_results
from ..sweep import jobs_of
from ..table import Table, read_table
from ..training import Job
from .agreement import Agreement, agreement
from .alignment import Alignment, rank_alignment
from .base import Shown
from .curves import Curves, loss_curves
from .gradients import Gradients, gradients, shuffled
from .landscape import Landscapes, landscapes
from .probabilities import Probabilities, probabilities
from .rows import Dots, Gathered, Heat, Lines, gather
from .suboptimal import Suboptimal, suboptimal

KINDS: Dict[str, Type[Shown]] = {
    kind.__name__: kind
    for kind in (
        Agreement,
        Alignment,
        Curves,
        Dots,
        Gradients,
        Heat,
        Landscapes,
        Lines,
        Probabilities,
        Suboptimal,
    )
}
#: Rows that most figures are of.
ALONE, KD, BOTH, RANKING = 'student alone', 'KD', 'KD + ranking', 'ranking'
MAIN = (ALONE, KD, BOTH, RANKING)
USE = """Each figure is a function that any logits or models can be given to;
what it returns draws itself and says what is seen:

```python
import torch
from mmdet_rankkd.experiments.figures import gradients

student, teacher = torch.randn(2, 512, 100)
found = gradients(student, teacher, temperature=4.0, k=1.0)
print(found.caption())
found.draw().savefig('gradients.png')
```

The others, in `mmdet_rankkd.experiments.figures`: `suboptimal`,
`probabilities`, `agreement`, `loss_curves`, `landscape`, `rank_alignment`, and
`gather` for rows of a sweep of one's own."""


@dataclass(frozen=True)
class Part:
    """A figure of the page.

    Attributes:
        name (str): Name of its file.
        title (str): Heading.
        text (str): What the paper shows there, and what is shown here.
        found (Shown): Its numbers.
    """

    name: str
    title: str
    text: str
    found: Shown


class Trained:
    """The trainings of a table of classifiers, and what their networks say.

    Args:
        table (Table): Table with one pair in its first column.
        folder (Path): Results and checkpoints.

    Raises:
        ValueError: If the table is none of classifiers, or nothing of it was
            trained.
    """

    def __init__(self, table: Table, folder: Path) -> None:
        if table.cells.task != 'classification':
            raise ValueError(f'{table.name} is not a table of classifiers')
        self.table = table
        self.folder = folder
        self.column = next(iter(table.columns))
        self.results = read_results(folder)
        if not self.runs:
            raise ValueError(
                f'nothing of {table.name} was trained in {folder}; train it '
                f'with rankkd sweep {table.name} --out {folder}'
            )
        self._logits: Dict[Tuple[str, int], Tensor] = {}

    @cached_property
    def rows(self) -> Dict[str, Dict[int, Result]]:
        """Results by row and seed, of the rows that have any."""
        found = {
            row: self.results.get(cells[0].name, {})
            for row in self.table.rows
            if (cells := self.table.cells_of(row, self.column))
        }
        return {row: runs for row, runs in found.items() if runs}

    @property
    def runs(self) -> List[Result]:
        """All results of the table."""
        return [r for by_seed in self.rows.values() for r in by_seed.values()]

    @cached_property
    def pair(self) -> str:
        """The pair of networks."""
        return self.table.columns[self.column].all_pairs[0]

    @cached_property
    def teacher(self) -> Tensor:
        """The teacher's logits of the validation images."""
        wanted = self.table.cells.teacher_of(self.pair)
        config = read_config(wanted['config'])
        return logits_of(load_model(config, wanted['checkpoint']), self.images)

    @cached_property
    def first(self) -> Config:
        """Config of a training; all have its validation images."""
        row = next(iter(self.rows))
        return self.config(row, next(iter(self.rows[row])))

    @cached_property
    def images(self) -> Tensor:
        """The validation images."""
        return validation_images(self.first)

    @cached_property
    def data(self) -> BaseDataset:
        """The validation set."""
        return DATASETS.build(self.first.val_dataloader.dataset)

    @cached_property
    def labels(self) -> Tensor:
        """Classes of its images."""
        samples = (self.data[i] for i in range(len(self.data)))
        return torch.cat([x['data_samples'].gt_label for x in samples])

    @cached_property
    def classes(self) -> List[str]:
        """Names of the classes."""
        return list(self.data.metainfo['classes'])

    def job(self, row: str, seed: int) -> Job:
        """The training of a row and a seed."""
        cells = self.table.cells_of(row, self.column)
        options = self.rows[row][seed].options
        return jobs_of(self.table, cells, [seed], self.folder, options)[0]

    def config(self, row: str, seed: int) -> Config:
        """Its config, with the options of the command."""
        config = read_config(self.job(row, seed).config)
        options = parse_options(self.rows[row][seed].options)
        merge_options(config, options)
        return config

    def model(self, row: str, seed: int) -> BaseModel:
        """A student after its training."""
        checkpoint = noted_checkpoint(self.job(row, seed).folder)
        return load_model(self.config(row, seed), checkpoint)

    def logits(self, row: str, seed: int) -> Tensor:
        """Logits of a student after its training."""
        if (row, seed) not in self._logits:
            model = self.model(row, seed)
            self._logits[row, seed] = logits_of(model, self.images)
        return self._logits[row, seed]

    def seeds(self, rows: Sequence[str]) -> List[int]:
        """Seeds that all rows have.

        Raises:
            Lacking: If there is none.
        """
        have = [set(self.rows.get(row, {})) for row in rows]
        found = sorted(set.intersection(*have))
        if not found:
            raise Lacking('no seed has all of ' + ', '.join(rows))
        return found

    def all_logits(self, rows: Sequence[str]) -> Dict[str, List[Tensor]]:
        """Logits by row, of the seeds that all of them have."""
        seeds = self.seeds(rows)
        return {row: [self.logits(row, s) for s in seeds] for row in rows}

    def setting(self, row: str, loss: str, name: str, default: float) -> float:
        """A number that the losses of a row have in their configs."""
        config = self.config(row, self.seeds([row])[0])
        for entry in config.model.losses:
            if entry.type.split('.')[-1] == loss:
                return float(entry.get(name, default))
        raise Lacking(f'{row} has no {loss}')

    def gathered(self, rows: Sequence[str]) -> Gathered:
        """Top-1 of rows, of the seeds that all of them have."""
        self.seeds(rows)
        return gather(self.table, self.results, rows, self.column, 'top-1 (%)')

    @property
    def temperature(self) -> float:
        """T of KD."""
        return self.setting(KD, 'KLDivLoss', 'temperature', 1.0)

    @property
    def k(self) -> float:
        """Steepness of KD + ranking."""
        return self.setting(BOTH, 'KendallRankLoss', 'k', 1.0)


class Lacking(ValueError):
    """What a figure needs has not been trained."""


def figure_1(of: Trained) -> Shown:
    """Pairs of students of which the wrong one is nearer to the teacher."""
    rows = [row for row in MAIN if row in of.rows]
    logits = [of.logits(row, seed) for row in rows for seed in of.rows[row]]
    return suboptimal(
        logits, of.teacher, of.labels, of.classes, of.temperature
    )


def figure_2(of: Trained) -> Shown:
    """The teacher's probabilities."""
    t = of.temperature
    return probabilities(
        {
            'teacher, T = 1': of.teacher.softmax(1),
            f'teacher, T = {t:g}': (of.teacher / t).softmax(1),
        }
    )


def figure_3(of: Trained) -> Shown:
    """Gradients at logits that are the teacher's, shuffled."""
    return gradients(shuffled(of.teacher), of.teacher, of.temperature, of.k)


def figure_3_trained(of: Trained) -> Shown:
    """Gradients at the logits of students that KD has trained."""
    found = of.all_logits([KD])[KD]
    return gradients(
        torch.cat(found),
        of.teacher.repeat(len(found), 1),
        of.temperature,
        of.k,
    )


def population(of: Trained) -> Shown:
    """All students."""
    logits = [of.logits(row, seed) for row in of.rows for seed in of.rows[row]]
    return agreement(logits, of.teacher, of.labels, of.temperature)


def figure_4(of: Trained) -> Shown:
    """Top and min channels."""
    lines: Dict[str, List[Tuple[float, str]]] = {}
    for side in ('top', 'min'):
        middle = [
            (float(p), f'{side} {p} %')
            for p in (10, 30, 50)
            if f'{side} {p} %' in of.rows
        ]
        lines[f'{side} channels'] = [(0.0, KD), *middle, (100.0, BOTH)]
    rows = dict.fromkeys(r for line in lines.values() for _, r in line)
    if len(rows) < 3:
        raise Lacking('no row ranks a part of the channels')
    panels = {'channels that are ranked (%)': lines}
    return Lines(**vars(of.gathered(list(rows))), base=KD, panels=panels)


def figure_5(of: Trained, points: int = 10) -> Shown:
    """Accuracy and losses of epochs that lie evenly."""
    rows = [row for row in (KD, BOTH, RANKING, ALONE) if row in of.rows]
    seeds = of.seeds(rows)
    found: Dict[str, List[List[Tensor]]] = {row: [] for row in rows}
    for row in rows:
        for seed in seeds:
            folder, config = of.job(row, seed).folder, of.config(row, seed)
            total = config.train_cfg.max_epochs
            stride = max(1, total // points)
            epochs = list(range(stride, total + 1, stride))
            files = [folder / f'epoch_{e}.pth' for e in epochs]
            if not all(file.is_file() for file in files):
                raise Lacking(f'{folder} has not the checkpoints {epochs}')
            models = [load_model(config, str(file)) for file in files]
            found[row].append([logits_of(m, of.images) for m in models])
    return loss_curves(
        found, of.teacher, of.labels, seeds, epochs, of.temperature, of.k
    )


def figure_6(of: Trained, images: int = 200, points: int = 15) -> Shown:
    """The loss of KD around students of KD and of KD + ranking."""
    seeds = of.seeds([KD, BOTH])[:3]
    t = of.temperature
    alpha = of.setting(KD, 'KLDivLoss', 'loss_weight', 1.0)
    config = of.config(KD, seeds[0])
    beta = float(config.model.student.head.loss.loss_weight)
    target, labels = of.teacher[:images], of.labels[:images]

    def loss(model: BaseModel) -> Tensor:
        logits = logits_of(model, of.images[:images])
        kl = kl_div_loss(logits, target, temperature=t)
        return alpha * kl + beta * F.cross_entropy(logits, labels)

    models = {
        row: [of.model(row, seed) for seed in seeds] for row in (KD, BOTH)
    }
    text = (
        f"KD's loss ({alpha:g} times KL with T = {t:g}, and {beta:g} times "
        'the cross-entropy)'
    )
    return landscapes(
        models, loss, text, len(labels), seeds, radius=1.0, points=points
    )


def figure_7(of: Trained) -> Shown:
    """Rank alignment."""
    rows = [KD, BOTH]
    classes = of.teacher.shape[1]
    group = 4 if classes % 4 == 0 else 1
    return rank_alignment(
        of.all_logits(rows), of.teacher, of.seeds(rows), group
    )


def figure_8(of: Trained) -> Shown:
    """Weights of KL and of the cross-entropy against that of ranking."""
    panels: Dict[str, List[Tuple[float, float, str]]] = {}
    for name, values, own in (
        ('alpha', (0.1, 0.9, 4.0), 0.9),
        ('beta', (0.1, 0.5, 1.0), 0.1),
    ):
        cells = []
        for value in values:
            for gamma in (0.1, 0.9, 4.0):
                row = f'{name} = {value:g}, gamma = {gamma:g}'
                if value == own:
                    row = BOTH if gamma == 0.9 else f'gamma = {gamma:g}'
                if row in of.rows:
                    cells.append((value, gamma, row))
        if len(cells) == 9:
            panels[f'{name}, gamma'] = cells
    if not panels:
        raise Lacking('the rows of alpha, beta and gamma are not all there')
    rows = [row for cells in panels.values() for *_, row in cells]
    found = of.gathered(list(dict.fromkeys([KD, *rows])))
    return Heat(**vars(found), base=KD, panels=panels)


def figure_9(of: Trained) -> Shown:
    """Probabilities of KD and of LSKD, of teacher and students."""
    seed = of.seeds([KD, 'LSKD'])[0]
    t, t_lskd = (
        of.setting(row, 'KLDivLoss', 'temperature', 1.0)
        for row in (KD, 'LSKD')
    )
    own, other = of.logits(KD, seed), of.logits('LSKD', seed)
    return probabilities(
        {
            f'teacher, KD (T = {t:g})': (of.teacher / t).softmax(1),
            f'student, KD (T = {t:g})': (own / t).softmax(1),
            f'teacher, LSKD (T = {t_lskd:g})': (
                standardize(of.teacher) / t_lskd
            ).softmax(1),
            f'student, LSKD (T = {t_lskd:g})': (
                standardize(other) / t_lskd
            ).softmax(1),
        }
    )


def tables_6_7(of: Trained) -> Shown:
    """Gamma and k."""
    panels: Dict[str, Dict[str, List[Tuple[float, str]]]] = {}
    for label, name, values, own in (
        ('weight gamma', 'gamma', (0.1, 0.5, 0.9, 2.0, 4.0, 6.0), 0.9),
        ('steepness k', 'k', (0.1, 0.5, 1.0, 2.0, 4.0, 6.0), 1.0),
    ):
        points = []
        for value in values:
            row = BOTH if value == own else f'{name} = {value:g}'
            if row in of.rows:
                points.append((value, row))
        if len(points) > 2:
            panels[label] = {BOTH: points}
    if not panels:
        raise Lacking('the rows of gamma and k are not there')
    rows = [r for x in panels.values() for line in x.values() for _, r in line]
    found = of.gathered(list(dict.fromkeys([KD, *rows])))
    return Lines(**vars(found), base=KD, panels=panels, log=True)


def dots(*pairs: Tuple[str, str]) -> Callable[[Trained], Shown]:
    """Rows that are compared in pairs."""

    def draw(of: Trained) -> Shown:
        there = [p for p in pairs if p[0] in of.rows and p[1] in of.rows]
        if not there:
            raise Lacking('its rows are not there')
        rows = dict.fromkeys(
            row for row, other in there for row in (other, row)
        )
        found = of.gathered(list(rows))
        return Dots(**vars(found), pairs=there)

    return draw


def cost(of: Trained) -> Shown:
    """Processor time of trainings that do the same beside their losses."""
    rows = [row for row in MAIN if row in of.rows]
    # Of a resumed training only the time since then is known.
    seeds = [
        seed
        for seed in of.seeds(rows)
        if not any(of.rows[row][seed].resumed for row in rows)
    ]
    if not seeds:
        raise Lacking('each seed has a training that was resumed')
    values = {
        row: [round(60 * of.rows[row][seed].cpu_minutes, 1) for seed in seeds]
        for row in rows
    }
    return Dots('processor time of a training (s)', seeds, values, [])


TAIL = ', long tail'
SMALL, LARGE = ', head of 0.001', ', head of 3'
FIGURES: List[Tuple[str, str, str, Callable[[Trained], Shown]]] = [
    (
        'suboptimal',
        'Figure 1: a smaller KL, and the wrong class',
        'The paper draws one made-up case of two students. Here it is looked '
        'for among trained ones.',
        figure_1,
    ),
    (
        'probabilities',
        'Figure 2: most channels are low-probability channels',
        '',
        figure_2,
    ),
    (
        'gradients',
        'Figure 3: gradients of KL and of the ranking loss',
        "As in the paper, the student's logits are random on the teacher's "
        "scale: the teacher's, shuffled in each image.",
        figure_3,
    ),
    (
        'gradients_trained',
        'Figure 3, of trained students',
        'The same at the logits of the students that KD has trained, a row an '
        'image and a seed, which the paper does not show.',
        figure_3_trained,
    ),
    (
        'channels',
        'Figure 4: top and min channels',
        '0 is KD, 100 KD + ranking.',
        figure_4,
    ),
    ('curves', 'Figure 5: accuracy and both losses', '', figure_5),
    ('landscape', 'Figure 6: loss landscape', '', figure_6),
    ('alignment', 'Figure 7: rank alignment', '', figure_7),
    (
        'weights',
        'Figure 8: weights against each other',
        'alpha is the weight of KL, beta that of the cross-entropy, gamma '
        'that of the ranking loss.',
        figure_8,
    ),
    (
        'probabilities_lskd',
        'Figure 9: probabilities of KD and LSKD',
        '',
        figure_9,
    ),
    (
        'gamma_k',
        'Tables 6 and 7: gamma and k',
        'The paper has them as tables.',
        tables_6_7,
    ),
    (
        'agreement',
        'Agreement of KL and of tau with accuracy',
        'Not in the paper, which argues that KL and accuracy part. The '
        'students are all of the sweep; they differ in their losses too.',
        population,
    ),
    (
        'init',
        'Initial weights',
        'Not in the paper. The seeds differ in initial weights, in the '
        'order of the images and in their crops.',
        dots((KD, ALONE), (BOTH, KD), (RANKING, KD)),
    ),
    (
        'init_head',
        'Initial weights of the last layer',
        'Not in the paper. With "head of 3" the last layer of the student '
        'starts with a standard deviation of 3, so that its first logits are '
        'far too large; with "head of 0.001" they are near zero.',
        dots(
            (BOTH + SMALL, KD + SMALL),
            (BOTH + LARGE, KD + LARGE),
            ('KD + ranking without normalisation' + LARGE, KD + LARGE),
        ),
    ),
    (
        'tail',
        'A long tail',
        'Not in the paper. Trained on as many images, 20 of the most '
        'frequent class and 2 of the rarest; tested on the same images as '
        'the others. The teacher saw no long tail.',
        dots(
            (KD + TAIL, ALONE + TAIL),
            (BOTH + TAIL, KD + TAIL),
            (RANKING + TAIL, KD + TAIL),
        ),
    ),
    (
        'relational',
        'With a relational loss, and with others',
        'DIST correlates predictions over classes and over the images of a '
        "batch (the paper's Table 12).",
        dots(
            ('DIST + ranking', 'DIST'),
            ('LSKD + ranking', 'LSKD'),
            ('DKD + ranking', 'DKD'),
        ),
    ),
    (
        'cost',
        'Cost',
        'Not in the paper. Of whole trainings, with a validation each epoch, '
        'on a machine that had other work too, which slows some of them.',
        cost,
    ),
]


def make_parts(of: Trained) -> Tuple[List[Part], Dict[str, str]]:
    """The figures that the trainings suffice for.

    Returns:
        tuple: The figures, and why others are left out, by their titles.
    """
    parts, left_out = [], {}
    for name, title, text, find in FIGURES:
        try:
            parts.append(Part(name, title, text, find(of)))
        except ValueError as error:
            left_out[title] = str(error)
    return parts, left_out


def write_figures(sweep: str, folder: Path, out: Path) -> Path:
    """Draw; write ``figures.md``, and ``figures/`` with pictures and numbers.

    Args:
        sweep (str): Table of classifiers, such as ``figures``.
        folder (Path): Its results and checkpoints.
        out (Path): Folder of the page. What an earlier call wrote is
            replaced.

    Returns:
        Path: The page.

    Raises:
        ValueError: If the table is none of classifiers, or nothing of it was
            trained.
        FileNotFoundError: If there is no such table, or a checkpoint is gone.
    """
    of = Trained(read_table(sweep), folder)
    parts, left_out = make_parts(of)
    pictures = out / 'figures'
    pictures.mkdir(parents=True, exist_ok=True)
    for part in parts:
        part.found.draw().savefig(
            pictures / f'{part.name}.png',
            dpi=80,
            facecolor='white',
            pil_kwargs=dict(optimize=True),
        )
    about = dict(
        sweep=of.table.name,
        title=of.table.title,
        pair=' to '.join(pair_names(of.pair)),
        images=len(of.labels),
        trainings=environments(of.runs),
        left_out=left_out,
    )
    text = to_json(about, parts)
    write_whole(pictures / 'numbers.json', text.encode())
    page = out / 'figures.md'
    write_whole(page, to_page(*read_figures(text)).encode())
    return page


def to_json(about: dict, parts: Sequence[Part]) -> str:
    """The numbers behind a page, a line a figure."""
    lines = [
        json.dumps(
            dict(
                name=part.name,
                title=part.title,
                text=part.text,
                kind=type(part.found).__name__,
                numbers=asdict(part.found),  # type: ignore[call-overload]
            )
        )
        for part in parts
    ]
    head = json.dumps(about)
    return f'{{"about": {head},\n"figures": [\n' + ',\n'.join(lines) + '\n]}\n'


def read_figures(text: str) -> Tuple[dict, List[Part]]:
    """What :func:`to_json` wrote."""
    content = json.loads(text)
    parts = [
        Part(
            x['name'], x['title'], x['text'], KINDS[x['kind']](**x['numbers'])
        )
        for x in content['figures']
    ]
    return content['about'], parts


def to_page(about: dict, parts: Sequence[Part]) -> str:
    """The page of figures, made of their numbers alone."""
    name = about['sweep']
    sections = [
        '# Figures of the paper, from our own trainings',
        f'{about["title"]}. Numbered as in the paper; made by `rankkd '
        f'figures`, captions too, of the [trainings](results/{name}.md) of '
        f'one sweep; the numbers are in `figures/numbers.json`. '
        f'{about["trainings"]} Small networks and small images: what is seen '
        'here need not hold elsewhere. *Helps* and *hurts* are said where the '
        '95 % interval of a paired difference leaves out zero, without a '
        'correction for their number.',
        f'```sh\nrankkd sweep {name} --out work_dirs/{name}\n'
        f'rankkd figures {name} --results work_dirs/{name} --out docs\n```',
        USE,
    ]
    for part in parts:
        sections += [
            f'## {part.title}',
            f'![{part.title}](figures/{part.name}.png)',
            f'{part.text} {part.found.caption()}'.strip(),
        ]
    if about['left_out']:
        said = [
            f'- {title}: {why}' for title, why in about['left_out'].items()
        ]
        sections += ['## Not drawn', '\n'.join(said)]
    return '\n\n'.join(sections) + '\n'
