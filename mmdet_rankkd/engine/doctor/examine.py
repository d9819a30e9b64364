"""The doctor's round: a training is brought to its first step."""

import copy
import io
import logging
import os
import tempfile
import time
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Sequence

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmdet_rankkd.checkpoint.diagnose import first_line
from mmdet_rankkd.distillers import BaseDistiller
from mmdet_rankkd.engine.launch import build_runner, guard_checkpoints
from mmdet_rankkd.engine.pooling import waits_for_roi_align
from mmdet_rankkd.engine.recipe import class_count

from . import verdicts
from .finding import NOTE, OK, PROBLEM, Finding
from .sample import teacher_facts, teacher_on_sample
from .settings import head_classes, learning_rate, training_set, warm_up
from .step import Step, as_before, measure
from .weights import initial_weights

Say = Callable[[str], None]
#: Seconds after which nothing more is measured that was not asked for.
PATIENCE = 20.0
#: Of the validation set, and at least so many.
IMAGES, LEAST_IMAGES = 20, 4
#: Of the training set.
BATCHES = 2


class _Reached(Exception):
    """The training is about to take its first step."""


class _StopBeforeTraining(Hook):
    """Ends a training when all is built and loaded."""

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """End it."""
        raise _Reached


def examine(
    cfg: Config,
    images: Optional[int] = None,
    batches: Optional[int] = None,
    gpus: int = 1,
    say: Optional[Say] = None,
    trust: bool = False,
) -> List[Finding]:
    """Look for what is wrong with a distillation, before its first step.

    The training is built as ``rankkd train`` builds it, up to the first step.
    A few batches are measured then. Nothing is written, and no weight is
    changed.

    Args:
        cfg (Config): Config with a ``model.teacher``.
        images (int, optional): Images of the validation set, that the teacher
            is tested on; 0 to leave that out. By default 20, or as many as it
            is through with in about ``PATIENCE``.
        batches (int, optional): Batches of the training set, that are
            measured. By default two, or one if that takes longer than
            ``PATIENCE``.
        gpus (int): How many processes will train.
        say (Callable, optional): Is told what is being done.
        trust (bool): Execute pickled code in the checkpoints that the student
            begins with.

    Returns:
        list[Finding]: In the order of the training. Where it could not be
        built, the last one says why.

    Raises:
        ValueError: If the config is not one of a distillation.
    """
    if 'teacher' not in (cfg.get('model') or {}):
        raise ValueError(
            'the config has no model.teacher: it is no distillation. '
            '`rankkd distill` writes one'
        )
    say = say or (lambda text: None)
    findings = [learning_rate(cfg, gpus)]
    with tempfile.TemporaryDirectory() as name, redirect_stdout(io.StringIO()):
        folder = Path(name)
        say('building the training')
        try:
            runner = reach_first_step(cfg, folder, trust)
        except Exception as error:  # whatever stops a training is a finding
            findings.append(not_reached(error))
            return findings
        findings += of_runner(cfg, runner, batches, gpus, say)
        if images is None:
            images = images_in_time(findings, runner)
        if images:
            say(f'the teacher on {images} images')
            part = quiet(cfg, folder, 'teacher')
            findings.append(teacher_on_sample(part, images, folder))
    return findings


def quiet(cfg: Config, folder: Path, name: str) -> Config:
    """A copy of a config that writes to a folder and says little."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(folder / name)
    cfg.experiment_name = f'doctor-{name}-{os.getpid()}-{time.time()}'
    cfg.launcher = 'none'
    cfg.resume = False
    visualizer = cfg.get('visualizer')
    if visualizer:
        visualizer.name = cfg.experiment_name
    return cfg


def reach_first_step(cfg: Config, folder: Path, trust: bool = False) -> Runner:
    """Build a training and bring it to its first step."""
    cfg = quiet(cfg, folder, 'training')
    guard_checkpoints(cfg, trust)
    runner = build_runner(cfg)
    runner.register_hook(_StopBeforeTraining())
    try:
        runner.train()
    except _Reached:
        return runner
    raise AssertionError('the training went on')


def not_reached(error: Exception) -> Finding:
    """The finding that a training cannot be built."""
    return Finding(
        'first step',
        PROBLEM,
        f'not reached, {type(error).__name__}: {first_line(str(error))}',
        'mend this first; nothing else was looked at',
        dict(error=type(error).__name__, message=str(error)),
    )


def images_in_time(findings: Sequence[Finding], runner: Runner) -> int:
    """How many images the teacher is tested on, by what a batch took it."""
    costs = [x.facts['seconds'] for x in findings if x.name == 'cost']
    if not costs:
        return IMAGES
    loader: Any = runner.train_loop.dataloader
    each = costs[0]['teacher'] / (loader.batch_size or 1)
    return min(IMAGES, max(LEAST_IMAGES, int(PATIENCE / each)))


def of_runner(
    cfg: Config,
    runner: Runner,
    batches: Optional[int],
    gpus: int,
    say: Say,
) -> List[Finding]:
    """What a training tells that stands before its first step."""
    model: Any = runner.model
    loader: Any = runner.train_loop.dataloader
    epochs = runner.max_epochs if cfg.train_cfg.get('by_epoch', True) else 0
    findings = [
        warm_up(cfg.get('param_scheduler'), runner.max_iters, epochs or 0),
        *training_set(loader.dataset),
        head_classes(
            list((loader.dataset.metainfo or {}).get('classes', ())),
            dict(student=class_count(model.student)),
        ),
        initial_weights(model.student, cfg.get('load_from')),
    ]
    if not model.losses:
        return [
            *findings,
            Finding(
                'losses',
                NOTE,
                'all have weight 0: the student trains alone',
                'set loss_weight',
            ),
        ]
    findings.append(teacher_facts(model.teacher.describe()))
    findings.append(losses_for_heads(model))
    count = batches or BATCHES
    say(f'measuring {count} batches')
    steps: List[Step] = []
    waits: List[float] = []
    model.train()
    with as_before(model):
        source = iter(loader)
        first = time.perf_counter()
        for _ in range(count):
            start = time.perf_counter()
            if steps and batches is None and start - first > PATIENCE:
                break
            data = next(source, None)
            if data is None:
                break
            waits.append(time.perf_counter() - start)
            try:
                steps.append(measure(model, data))
            except Exception as error:
                return [*findings, failed_step(error)]
    finds = bool(cfg.get('find_unused_parameters'))
    return [
        *findings,
        verdicts.own_step(steps),
        verdicts.compared(steps, model),
        verdicts.background(steps),
        *verdicts.terms(steps, model.losses),
        verdicts.finite(steps),
        verdicts.unused(steps, finds, gpus),
        verdicts.cost(
            steps,
            runner.max_iters,
            min(waits),
            waits_for_roi_align(model.student),
        ),
    ]


def failed_step(error: Exception) -> Finding:
    """The finding that a step of the training fails."""
    return Finding(
        'a step',
        PROBLEM,
        f'fails, {type(error).__name__}: {first_line(str(error))}',
        'mend this first; nothing else of the step was looked at',
        dict(error=type(error).__name__, message=str(error)),
    )


@contextmanager
def warnings_of_log() -> Iterator[List[str]]:
    """Collect what is warned of in the log in the context."""
    found: List[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger = MMLogger.get_current_instance()
    handler = Collect(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def losses_for_heads(model: BaseDistiller) -> Finding:
    """What the losses themselves say about these heads."""
    columns = model.logits.columns(model.student)
    sigmoid = model.logits.sigmoid(model.student)
    with warnings_of_log() as warned:
        for loss in model.losses.values():
            loss.check(columns, sigmoid)
    kinds = ', '.join(type(x).__name__ for x in model.losses.values())
    if warned:
        return Finding(
            'losses',
            PROBLEM,
            f'{kinds}: {" ".join(warned)}',
            'take the loss that is named there',
            dict(warned=warned),
        )
    return Finding('losses', OK, f'{kinds}: for these heads', '', {})
