"""The model card of a student: what it costs and gives, how it was made."""

import json
import platform
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from mmengine.model import BaseModel

from mmdet_rankkd.checkpoint.build import load_config, read_config_text
from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.checkpoint.write import new_file
from mmdet_rankkd.deploy.ship import Shipped
from mmdet_rankkd.deploy.student import Student
from mmdet_rankkd.engine.cost import RUNS, WARM_UP, Cost, measure_cost
from mmdet_rankkd.engine.recipe import as_call
from mmdet_rankkd.version import __version__

from .curves import Entry, metrics_of, read_scalars
from .models import load_model
from .result import device, versions
from .summary import Grid, to_markdown

#: Shown of each metric of COCO; of others, all.
COCO = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'segm_mAP')


@dataclass(frozen=True)
class Sources:
    """What a card tells beside what is measured for it.

    Attributes:
        training (dict): Config of the training; empty if it is not known.
        meta (dict): What the checkpoint says of itself.
        metrics (dict): Metrics of the student.
        teacher_metrics (dict): Metrics of the teacher.
        teacher (BaseModel, optional): Teacher to be measured.
        notes (list[str]): Where the figures are from, a sentence each.
    """

    training: Dict[str, Any]
    meta: Mapping[str, Any]
    metrics: Entry
    teacher_metrics: Entry
    teacher: Optional[BaseModel]
    notes: List[str] = field(default_factory=list)


def read_sources(
    checkpoint: str,
    trust: bool = False,
    teacher: Optional[Tuple[str, str]] = None,
    metrics: Optional[str] = None,
    teacher_metrics: Optional[str] = None,
) -> Sources:
    """Gather what is known of a training.

    Args:
        checkpoint (str): Checkpoint of the training.
        trust (bool): Execute pickled code in it.
        teacher (tuple[str, str], optional): Config and checkpoint of the
            teacher. Those that the training names are not taken: a config is
            a program, and the checkpoint may be a stranger's.
        metrics (str, optional): JSON file of a test of the student, as
            MMEngine leaves it in the work dir of the test. By default what
            the log beside the checkpoint says of its epoch.
        teacher_metrics (str, optional): The same of the teacher.

    Raises:
        ValueError: If a file is not what it should be.
    """
    meta: Mapping[str, Any] = _meta(checkpoint, trust)
    training: Dict[str, Any] = {}
    if isinstance(meta.get('cfg'), str):
        # That it cannot be read, the export says.
        with suppress(SyntaxError, ValueError):
            training = dict(read_config_text(meta['cfg']))
    notes: List[str] = []
    found = [
        _metrics(role, file, place, read, notes)
        for role, file, place, read in (
            ('student', metrics, checkpoint, meta),
            ('teacher', teacher_metrics, *_teacher_place(teacher)),
        )
    ]
    model = None
    if teacher is not None:
        config = load_config(teacher[0], what='teacher config')
        model = load_model(config, teacher[1])
    return Sources(training, meta, found[0], found[1], model, notes)


def _teacher_place(
    teacher: Optional[Tuple[str, str]],
) -> Tuple[Optional[str], Mapping[str, Any]]:
    if teacher is None:
        return None, {}
    return teacher[1], _meta(teacher[1])


def _meta(checkpoint: str, trust: bool = False) -> Mapping[str, Any]:
    return dict(read_checkpoint(checkpoint, trust).get('meta') or {})


def _metrics(
    role: str,
    file: Optional[str],
    checkpoint: Optional[str],
    meta: Mapping[str, Any],
    notes: List[str],
) -> Entry:
    if file is not None:
        notes.append(f'Metrics of the {role}: {file}.')
        return read_metrics(file)
    if checkpoint is not None:
        folder = Path(checkpoint).parent
        found = logged_metrics(folder, meta)
        if found:
            notes.append(
                f'Metrics of the {role}: the log in {folder}, of the '
                "checkpoint's own validation."
            )
            return found
    notes.append(f'Metrics of the {role}: not known.')
    return {}


def read_metrics(file: str) -> Entry:
    """Metrics of a test, from the JSON file in its work dir.

    Raises:
        ValueError: If there are none in it.
    """
    try:
        content = json.loads(Path(file).read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f'{file} cannot be read as JSON: {error}') from error
    found = metrics_of(content) if isinstance(content, dict) else {}
    if not found:
        raise ValueError(
            f'{file} holds no metrics. `rankkd test` leaves a file of them in '
            'a folder of its work dir, <time>/<time>.json'
        )
    return found


def logged_metrics(folder: Path, meta: Mapping[str, Any]) -> Entry:
    """Metrics that were logged when a checkpoint was written, if any.

    Args:
        folder (Path): Folder of the checkpoint.
        meta (dict): Facts of the checkpoint, with ``epoch`` and ``iter``. One
            of the two is the step of a validation, by the kind of training.
    """
    steps = (meta.get('iter'), meta.get('epoch'))
    for entry in reversed(read_scalars(folder)):
        if 'lr' not in entry and entry.get('step') in steps:
            return metrics_of(entry)
    return {}


def write_card(
    path: str, shipped: Shipped, sources: Sources, force: bool = False
) -> None:
    """Measure, and write the card.

    Args:
        path (str): Markdown file to write.
        shipped (Shipped): The student and its files.
        sources (Sources): What else is known.
        force (bool): Overwrite the file if it exists.

    Raises:
        FileExistsError: If it exists and ``force`` is not set.
    """
    student = shipped.student
    data = shipped.samples[0].data
    costs = {'student': measure_cost(student.model, data)}
    if sources.teacher is not None:
        costs['teacher'] = measure_cost(sources.teacher, data)
    text = '\n\n'.join(
        [
            f'# Model card: {type(student.model).__name__}',
            f'Exported with mmdet_rankkd {__version__}. '
            f'{len(student.classes)} classes: {", ".join(student.classes)}.',
            '## Files',
            files_text(shipped),
            '## Figures',
            to_markdown(figures(costs, sources)),
            figures_notes(costs, sources),
            '## Preprocessing',
            preprocessing_text(student),
            '## Training',
            training_text(sources),
            '## Versions',
            versions_text(sources),
        ]
    )
    with new_file(path, force) as file:
        file.write(f'{text}\n'.encode())


def files_text(shipped: Shipped) -> str:
    """A line for each file, and what was verified."""
    plain = shipped.plain
    lines = [
        f'- The plain checkpoint: {plain["bytes_after"]:,} bytes, SHA-256 '
        f'`{plain["sha256"]}`.'
    ]
    lines += [
        f'- `{Path(name).name}`: {said}.'
        for name, said in shipped.verified.items()
    ]
    needs = plain.get('needs')
    if needs:
        lines.append(
            f'- mmdet_rankkd is needed for {", ".join(needs)} of its config.'
        )
    else:
        lines.append('- mmdet_rankkd is not needed.')
    return '\n'.join(lines)


def figures(costs: Dict[str, Cost], sources: Sources) -> Grid:
    """The table of costs and metrics, teacher and student."""
    roles = ('teacher', 'student')
    metrics = dict(teacher=sources.teacher_metrics, student=sources.metrics)
    grid = [['', *roles]]
    for title, text in (
        ('parameters', lambda c: f'{c.parameters / 1e6:.2f} M'),
        ('operations, GFLOPs', lambda c: f'{c.flops / 1e9:.2f}'),
        ('latency, median (quartiles)', Cost.latency_text),
    ):
        grid.append(
            [title]
            + [
                text(costs[role]) if role in costs else 'not measured'
                for role in roles
            ]
        )
    names = dict.fromkeys(n for role in roles for n in metrics[role])
    for name in names:
        prefix, _, short = name.rpartition('/')
        if prefix.endswith('coco') and short not in COCO:
            continue
        grid.append(
            [name]
            + [
                f'{metrics[role][name]:g}'
                if name in metrics[role]
                else 'not known'
                for role in roles
            ]
        )
    return grid


def figures_notes(costs: Dict[str, Cost], sources: Sources) -> str:
    """What was measured how, and where the metrics are from."""
    cost = costs['student']
    height, width = cost.size
    said = [
        f'One image of {width} x {height} pixels at a time, on {device()} '
        f'({cost.device}; threads of PyTorch: {cost.threads}): from the '
        'resized image to the result, normalisation, decoding and NMS '
        'included; the teacher on the same image. '
        f'{RUNS} runs after {WARM_UP} that do not count.',
        'A multiplication and an addition are two operations; those of '
        'convolutions, matrix products and attention are counted.',
    ]
    if 'teacher' not in costs:
        said.append(
            'The teacher was not measured: `--teacher CONFIG CHECKPOINT` does.'
        )
    return ' '.join([*said, *sources.notes])


def preprocessing_text(student: Student) -> str:
    """The test pipeline and the normalisation, as the config has them."""
    config = student.config
    steps = [dict(x) for x in student.test_set.pipeline]
    steps.append(
        dict(
            config.model.get('data_preprocessor')
            or config.get('data_preprocessor')
            or {}
        )
    )
    lines = '\n'.join(_call(x) for x in steps if x)
    return f'```python\n{lines}\n```'


def _call(settings: Mapping[str, Any]) -> str:
    """A part of a config with its type first and without what is None."""
    first = {'type': settings['type']} if 'type' in settings else {}
    rest = {k: v for k, v in settings.items() if v is not None}
    return as_call({**first, **rest})


def training_text(sources: Sources) -> str:
    """Teacher, losses and schedule, as the config has them."""
    training = sources.training
    model = training.get('model') or {}
    lines: List[str] = []
    if 'teacher' in model:
        lines += [
            f'- Teacher: `{_named(model["teacher"], "config")}` with '
            f'`{_named(model["teacher"], "checkpoint")}`.',
            '- Compared: '
            + (
                f'`{_call(model["logits"])}`.'
                if model.get('logits')
                else 'features alone.'
            ),
            *(f'- Loss: `{_call(x)}`.' for x in model.get('losses') or []),
        ]
    elif model:
        lines.append('- Trained without a teacher.')
    else:
        lines.append('- The checkpoint does not tell its config.')
    for name in ('epoch', 'iter'):
        if name in sources.meta:
            title = dict(epoch='Epochs', iter='Iterations')[name]
            lines.append(f'- {title}: {sources.meta[name]}.')
    optimizer = (training.get('optim_wrapper') or {}).get('optimizer')
    if optimizer:
        lines.append(f'- Optimizer: `{_call(optimizer)}`.')
    batch = (training.get('train_dataloader') or {}).get('batch_size')
    if batch:
        lines.append(f'- Images a step and GPU: {batch}.')
    seed = (training.get('randomness') or {}).get('seed')
    if seed is not None:
        lines.append(f'- Seed: {seed}.')
    return '\n'.join(lines)


def _named(teacher: Mapping[str, Any], key: str) -> str:
    value = teacher.get(key)
    return value if isinstance(value, str) else f'a {type(value).__name__}'


def versions_text(sources: Sources) -> str:
    """Of what exported it, and of what trained it as far as that is known."""
    here: Sequence[str] = [f'{k} {v}' for k, v in versions().items()]
    said = f'Exported and measured with {", ".join(here)}, on '
    said += f'{platform.system()} {platform.machine()}.'
    # MMEngine puts the hash of a commit behind it, without a space.
    engine = re.sub(
        '([0-9a-f]{40}|unknown)$',
        '',
        str(sources.meta.get('mmengine_version', '')),
    )
    return said + (f' Trained with MMEngine {engine}.' if engine else '')
