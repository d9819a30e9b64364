"""One training, in a process of a pool or of a cluster."""

import json
import os
import platform
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

import torch
from mmengine.runner import Runner

from mmdet_rankkd.checkpoint.diagnose import first_line
from mmdet_rankkd.checkpoint.latest import (
    NOTE,
    has_checkpoint,
    instead_of_damaged,
)
from mmdet_rankkd.checkpoint.read import (
    locate_file,
    read_checkpoint,
    refuse_pickled_code,
)
from mmdet_rankkd.engine.launch import add_safe_hooks, parse_options

from .cells import merge_options, read_config
from .result import (
    FILE,
    Result,
    commit,
    config_hash,
    device,
    training_metrics,
    versions,
)

LOG = 'output.log'
OPTIONS = 'options.json'
#: There while the training runs: its process and the machine.
RUNNING = 'running.json'


@dataclass(frozen=True)
class Job:
    """A training, or the test of a checkpoint.

    Attributes:
        name (str): Name of its cell.
        seed (int): Seed of the training.
        config (str): File, or ``package::path``.
        folder (Path): Work dir.
        metric (str): Key of the metric that decides which epoch is best.
        options (tuple): ``KEY=VALUE`` items of the command.
        checkpoint (str, optional): Checkpoint to be tested, in place of a
            training.
    """

    name: str
    seed: int
    config: str
    folder: Path
    metric: str
    options: Tuple[str, ...] = ()
    checkpoint: Optional[str] = None

    @property
    def done(self) -> bool:
        """Whether it has a result."""
        return (self.folder / FILE).is_file()

    def claim(self) -> None:
        """Note the options in the folder.

        A training that ended before its first checkpoint holds nothing, so
        that other options may take its place.

        Raises:
            FileExistsError: If it holds a training with other options.
        """
        file = self.folder / OPTIONS
        if not self.done and not has_checkpoint(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(self.options))
        before = json.loads(file.read_text())
        if before != list(self.options):
            raise FileExistsError(
                f'{self.folder} holds a training with the options {before}, '
                f'not {list(self.options)}; move it away, or choose another '
                'folder with --out'
            )


def run_job(job: Job) -> Optional[str]:
    """Train, or go on where it stopped, and write ``result.json``.

    What is printed goes to ``output.log`` in the folder.

    Returns:
        str, optional: Why it failed.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    running = job.folder / RUNNING
    running.write_text(json.dumps(dict(pid=os.getpid(), host=platform.node())))
    with (
        open(job.folder / LOG, 'a') as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        try:
            train(job).write(job.folder)
        except Exception as error:
            traceback.print_exc()
            return f'{type(error).__name__}: {first_line(str(error))}'
        finally:
            running.unlink()
    return None


def train(job: Job) -> Result:
    """Do a job in this process."""
    start, cpu = time.time(), sum(os.times()[:4])
    other = instead_of_damaged(job.folder) if job.checkpoint is None else None
    resumed = other is not None or (job.folder / NOTE).is_file()
    refuse_pickled_code()
    cfg = read_config(job.config)
    merge_options(cfg, parse_options(job.options))
    digest = config_hash(cfg)
    cfg.merge_from_dict(dict(randomness=dict(seed=job.seed)))
    cfg.work_dir = str(job.folder)
    # Runners of one process are told apart by this name.
    cfg.experiment_name = f'{job.folder.name}-{os.getpid()}-{start}'
    if 'visualizer' in cfg:  # MMDetection's has the same name in each
        cfg.visualizer.name = cfg.experiment_name
    if job.checkpoint is None:
        if resumed:  # MMEngine would resume from load_from instead
            cfg.resume, cfg.load_from = True, other
        add_safe_hooks(cfg)
        Runner.from_cfg(cfg).train()
        last, best, curves = training_metrics(job.folder, job.metric)
    else:
        cfg.load_from = locate_file(job.checkpoint, 'checkpoint')
        read_checkpoint(cfg.load_from)  # says what is wrong with it
        metrics = Runner.from_cfg(cfg).test()
        last = {k: float(v) for k, v in metrics.items() if 'time' not in k}
        best, curves = last, {}
    return Result(
        name=job.name,
        seed=job.seed,
        last=last,
        best=best,
        curves=curves,
        minutes=(time.time() - start) / 60,
        cpu_minutes=(sum(os.times()[:4]) - cpu) / 60,
        resumed=resumed,
        options=list(job.options),
        config_hash=digest,
        versions=versions(),
        commit=commit(),
        device=device(),
    )
