"""Does a long distillation stay as large as it is, and a dropped one go away?

    python tests/trust/endurance.py --minutes 120

trains Faster R-CNN on the digits with KD, ranking and a feature loss, a
validation and a checkpoint every 20 steps, and takes a sample every few
seconds after a step: resident memory, open files, objects of this package,
tensors with an autograd graph, and listeners on modules; also what of the
memory is in use, by C's allocator and as blocks of Python's. Then it builds a
distiller of a classifier, trains it one step and drops it, 1,000 times.

Writes ``training.csv``, ``cycles.csv`` and ``endurance.png`` to ``--out`` and
prints a line of JSON and a verdict for each. The first fifth of the samples
is warm-up. Memory is flat if a straight line through the other samples rises
by less than 2 %; nothing else may have grown at all. The range of the samples
is printed beside: it has the allocator's ups and downs in it. Resident memory
that grows while what is in use does not is memory that was freed and not given
back.
"""

import argparse
import csv
import gc
import json
import logging
import sys
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Dict, List

import numpy as np
import psutil
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from mmdet_rankkd.compat import hide_note_on_faster_coco  # noqa: E402
from mmdet_rankkd.datasets import make_digits  # noqa: E402
from mmdet_rankkd.distillers.base import BaseDistiller  # noqa: E402
from mmdet_rankkd.distillers.teacher import Teacher  # noqa: E402
from mmdet_rankkd.losses.base import DistillLoss  # noqa: E402
from mmdet_rankkd.recorders import Recorder  # noqa: E402

TRAINING = """
_base_ = '{root}/configs/digits/rankkd_r50-quarter_mobilenet-v2-half_digits.py'
model = dict(
    features=dict(layer='neck'),
    losses=[
        dict(type='mmdet_rankkd.KLDivLoss'),
        dict(type='mmdet_rankkd.KendallRankLoss'),
        dict(type='mmdet_rankkd.FitNetLoss', levels=(0, 1, 2, 3),
             loss_weight=1.0)])
data_root = '{data}/'
train_dataloader = dict(
    batch_size=4, dataset=dict(data_root=data_root, indices=80))
val_dataloader = dict(dataset=dict(data_root=data_root, indices=40))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1000000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100)]
default_hooks = dict(
    checkpoint=dict(type='mmdet_rankkd.AtomicCheckpointHook',
                    max_keep_ckpts=2),
    finite=dict(type='mmdet_rankkd.NonFiniteHook'))
custom_hooks = [
    dict(type='mmdet_rankkd.ExactResumeHook'),
    dict(type='EMAHook', momentum=0.01)]
randomness = dict(seed=0)
log_level = 'WARNING'
"""
#: What is counted; none may grow.
COUNTS = ('files', 'threads', 'objects', 'graphs', 'listeners')
OURS = (BaseDistiller, Teacher, DistillLoss, Recorder)
PAGE = 2**20
Sample = Dict[str, float]


def sample(begin: float, step: int) -> Sample:
    """How large this process is.

    Args:
        begin (float): Time of the beginning in seconds.
        step (int): Steps, or cycles, that are done.

    Returns:
        dict: ``minutes``, ``step``, ``memory`` (resident, MiB), ``in_use``
        (of malloc, MiB), ``blocks`` (of Python, thousands) and COUNTS.
    """
    gc.collect()
    process = psutil.Process()
    heap = psutil.heap_info()
    found = gc.get_objects()
    modules = [x for x in found if isinstance_of(x, nn.Module)]
    return dict(
        minutes=(time.time() - begin) / 60,
        step=step,
        memory=process.memory_info().rss / PAGE,
        in_use=(heap.heap_used + heap.mmap_used) / PAGE,
        blocks=sys.getallocatedblocks() / 1000,
        files=process.num_fds(),
        threads=process.num_threads(),
        objects=sum(isinstance_of(x, OURS) for x in found),
        graphs=sum(
            isinstance_of(x, torch.Tensor) and x.grad_fn is not None
            for x in found
        ),
        listeners=sum(listeners(x) for x in modules),
    )


def isinstance_of(thing: object, kinds: object) -> bool:
    """Whether it is, by its type: some proxies answer for others."""
    return issubclass(type(thing), kinds)


def listeners(module: nn.Module) -> int:
    """Hooks of a module, and methods that stand on it in place of its own."""
    hooks = [x for n, x in vars(module).items() if n.endswith('_hooks')]
    replaced = [
        n for n in vars(module) if callable(getattr(type(module), n, None))
    ]
    return sum(map(len, hooks)) + len(replaced)


class TimeIsUp(Exception):
    """Ends a training."""


class SampleHook(Hook):
    """Takes samples after steps and ends the training in time.

    Args:
        minutes (float): Length of the training.
        interval (float): Seconds between samples.
        file (Path): CSV file that each sample is added to.
    """

    def __init__(self, minutes: float, interval: float, file: Path) -> None:
        self.minutes, self.interval, self.file = minutes, interval, file
        self.begin = self.last = time.time()
        self.samples: List[Sample] = []

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Take a sample, or end, if it is time."""
        now = time.time()
        if now - self.last >= self.interval:
            self.last = now
            self.samples.append(sample(self.begin, runner.iter + 1))
            write(self.file, self.samples)
        if now - self.begin >= 60 * self.minutes:
            raise TimeIsUp


def write(file: Path, samples: List[Sample]) -> None:
    """Write samples as CSV, the last one alone where the rest is there."""
    with file.open('a' if len(samples) > 1 else 'w', newline='') as stream:
        rows = csv.DictWriter(stream, list(samples[-1]))
        if len(samples) == 1:
            rows.writeheader()
        rows.writerow(samples[-1])


def train(minutes: float, interval: float, file: Path) -> List[Sample]:
    """Distil for so long and take samples."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_digits(folder / 'digits')
        text = TRAINING.format(root=ROOT, data=folder / 'digits')
        config = Config.fromstring(text, '.py')
        config.work_dir = str(folder / 'work')
        hide_note_on_faster_coco(config)
        runner = Runner.from_cfg(config)
        hook = SampleHook(minutes, interval, file)
        runner.register_hook(hook, priority='LOWEST')
        with suppress(TimeIsUp):
            runner.train()
    return hook.samples


def cycle(config: dict, seed: int) -> List[weakref.ref]:
    """Build a distiller, train it one step, and drop it."""
    from tests.setups import cls_batch

    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(ConfigDict(config))
    model.init_weights()
    model.train()
    batch = model.data_preprocessor(cls_batch(4), True)
    losses = model(**batch, mode='loss')
    sum(x.mean() for n, x in losses.items() if 'loss' in n).backward()
    parts = [model, model.teacher, model.logits, *model.losses.values()]
    parts += [model.student, *model.recorders.values()]
    return [weakref.ref(x) for x in parts]


def cycles(count: int, file: Path) -> List[Sample]:
    """Build and drop distillers so often and take samples.

    Raises:
        RuntimeError: If one is there after it was dropped.
    """
    from tests.setups import (
        SETUPS,
        distiller_config,
        save_teacher,
    )

    setup = SETUPS['classifier']()
    begin = time.time()
    samples: List[Sample] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / 'teacher.pth'
        save_teacher(setup, checkpoint)
        names = ('KLDivLoss', 'KendallRankLoss', 'CRDLoss', 'ATLoss')
        losses = [setup.loss(x) for x in names]
        config = distiller_config(setup, checkpoint, losses)
        for number in range(1, count + 1):
            parts = cycle(config, number)
            gc.collect()
            alive = [type(x()).__name__ for x in parts if x() is not None]
            if alive:
                raise RuntimeError(
                    f'after {number} cycles there is still {alive}'
                )
            if number % max(count // 100, 1) == 0:
                samples.append(sample(begin, number))
                write(file, samples)
    return samples


def verdict(samples: List[Sample]) -> dict:
    """What became of memory and counts after the warm-up.

    Args:
        samples (list[dict]): At least five.

    Returns:
        dict: ``minutes`` and ``steps``, ``memory`` at the middle in MiB,
        ``growth`` of a straight line through it and the ``range`` of it, as
        parts of ``memory``; ``in_use`` and ``blocks``, such growths of what
        is in use, as parts of it; of each count its growth from the first
        sample to the last; and ``holds``.
    """
    kept = samples[len(samples) // 5 :]
    memory = np.array([x['memory'] for x in kept])
    middle = float(np.median(memory))
    growth = growth_of(kept, 'memory')
    counts = {n: int(kept[-1][n] - kept[0][n]) for n in COUNTS}
    return dict(
        minutes=round(samples[-1]['minutes'], 1),
        steps=int(samples[-1]['step']),
        samples=len(samples),
        memory=round(middle, 1),
        growth=round(growth, 5),
        range=round(float(memory.max() - memory.min()) / middle, 5),
        in_use=round(growth_of(kept, 'in_use'), 5),
        blocks=round(growth_of(kept, 'blocks'), 5),
        **counts,
        holds=growth < 0.02 and all(x <= 0 for x in counts.values()),
    )


def growth_of(samples: List[Sample], name: str) -> float:
    """Rise of a straight line through a column, as part of its middle."""
    values = np.array([x[name] for x in samples])
    times = np.array([x['minutes'] for x in samples])
    slope = np.polyfit(times, values, 1)[0]
    return float(slope * (times[-1] - times[0]) / np.median(values))


def draw(parts: Dict[str, List[Sample]], file: Path) -> None:
    """Memory and counts over the time."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, len(parts), figsize=(5 * len(parts), 5), squeeze=False
    )
    for column, (name, samples) in enumerate(parts.items()):
        steps = [x['step'] for x in samples]
        first = steps[len(steps) // 5]
        for part, label in (('memory', 'resident'), ('in_use', 'malloc')):
            values = [x[part] for x in samples]
            axes[0][column].plot(steps, values, label=label)
        axes[0][column].set(title=name, ylabel='memory, MiB')
        axes[0][column].legend()
        axes[0][column].set_ylim(bottom=0)
        for count in COUNTS:
            values = [x[count] for x in samples]
            axes[1][column].plot(steps, values, label=count)
        axes[1][column].set(xlabel='steps', yscale='symlog')
        axes[1][column].legend()
        for axis in axes[:, column]:
            axis.axvspan(steps[0], first, color='0.9')
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    plt.close(figure)


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--minutes', type=float, default=120, help='0: none')
    parser.add_argument('--interval', type=float, default=15, help='seconds')
    parser.add_argument('--cycles', type=int, default=1000, help='0: none')
    parser.add_argument('--out', type=Path, default='work_dirs/endurance')
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    out = args.out.resolve()
    parts = {}
    if args.minutes:
        file = out / 'training.csv'
        parts['training'] = train(args.minutes, args.interval, file)
    if args.cycles:
        MMLogger.get_current_instance().setLevel(logging.ERROR)
        parts['built and dropped'] = cycles(args.cycles, out / 'cycles.csv')
    holds = True
    for name, samples in parts.items():
        facts = verdict(samples)
        print(name, json.dumps(facts))
        word = 'flat' if facts['holds'] else 'NOT FLAT'
        print(
            f'{name}: {word}; {facts["memory"]} MiB, {facts["growth"]:+.2%} '
            f'over {facts["minutes"]} minutes, {facts["steps"]} steps; in use '
            f'by malloc {facts["in_use"]:+.2%}, by Python '
            f'{facts["blocks"]:+.2%}; open files {facts["files"]:+d}, '
            f'objects {facts["objects"]:+d}, '
            f'graphs {facts["graphs"]:+d}, listeners '
            f'{facts["listeners"]:+d}',
            flush=True,
        )
        holds &= facts['holds']
    draw(parts, out / 'endurance.png')
    sys.exit(not holds)


if __name__ == '__main__':
    main()
