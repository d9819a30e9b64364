"""Many trainings at a time, one a core or one a GPU of this machine."""

import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import (
    connection,
    get_all_start_methods,
    get_context,
)
from multiprocessing.context import BaseContext
from typing import Deque, Dict, List, Optional, Protocol, Sequence, Tuple

import torch

from .curves import read_scalars, val_curve
from .metrics import METRICS
from .training import LOG, RUNNING, Job, run_job

#: How often a training is started whose process dies.
ATTEMPTS = 3


def start_context() -> BaseContext:
    """How processes start: forked from one that has imported the stack.

    Where there is a GPU, or the system cannot fork, each imports the stack
    itself: MMEngine looks for GPUs when it is imported, and a process that
    is forked after that cannot use any.
    """
    forks = 'forkserver' in get_all_start_methods()
    if torch.cuda.is_available() or not forks:
        return get_context('spawn')
    context = get_context('forkserver')
    context.set_forkserver_preload(
        [
            'mmdet_rankkd.experiments.training',
            'mmdet_rankkd.engine.hooks',
            'mmdet_rankkd.distillers',
            'mmdet.apis',
            'torch._dynamo',  # which every optimizer imports
        ]
    )
    return context


CONTEXT = start_context()


class Pool(Protocol):
    """Where trainings run; each slot holds one at a time."""

    slots: int

    def submit(self, slot: int, job: Job) -> Future:
        """Start a job; its result is why it failed, or None."""

    def close(self) -> None:
        """Start no more."""


class LocalPool:
    """A process a slot, each with a GPU of its own where there are any.

    Without a GPU each training has one thread: more do not make small
    networks faster.

    Args:
        workers (int, optional): Trainings at a time. By default one a GPU,
            or one a core where there is none.
    """

    def __init__(self, workers: Optional[int] = None) -> None:
        self.slots = (
            workers or torch.cuda.device_count() or os.cpu_count() or 1
        )
        self.processes: Dict[int, ProcessPoolExecutor] = {}

    def submit(self, slot: int, job: Job) -> Future:
        """Start a job in the slot's process, or in a new one if that died."""
        try:
            if slot in self.processes:
                return self.processes[slot].submit(run_job, job)
        except BrokenProcessPool:
            pass
        self.processes[slot] = ProcessPoolExecutor(
            1, CONTEXT, start_worker, (slot,)
        )
        return self.processes[slot].submit(run_job, job)

    def close(self) -> None:
        """Start no more."""
        for process in self.processes.values():
            process.shutdown(wait=False, cancel_futures=True)


def start_worker(slot: int) -> None:
    """Give a new process its GPU, and have it end with this one."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    if torch.cuda.is_available():
        torch.cuda.set_device(slot % torch.cuda.device_count())


def end_with_parent() -> None:
    """End the process when that which started it is gone.

    A pool's processes wait for work for ever after it was killed.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


@dataclass
class Progress:
    """The line that is shown while trainings run."""

    count: int
    done: int = 0
    start: float = field(default_factory=time.time)
    shown: float = 0.0

    def show(self, jobs: Sequence[Job]) -> None:
        """Show it, unless it was shown a moment ago."""
        tty = sys.stdout.isatty()
        if time.time() - self.shown < (2 if tty else 30):
            return
        self.shown = time.time()
        minutes = (self.shown - self.start) / 60
        left = ''
        if self.done:
            rest = minutes / self.done * (self.count - self.done)
            left = f', {rest:.1f} min left'
        parts = [
            f'  {self.done}/{self.count} done, {minutes:.1f} min{left}',
            *(state_of(job) for job in jobs if is_running(job)),
        ]
        width = os.get_terminal_size().columns if tty else 200
        line = ' | '.join(parts)[:width]
        print(line, end='\033[K\r' if tty else '\n', flush=True)

    def end(self) -> None:
        """Remove the line from the terminal."""
        if sys.stdout.isatty():
            print('\033[K', end='')


def is_running(job: Job) -> bool:
    """Whether some process works on a job."""
    return (job.folder / RUNNING).is_file()


def state_of(job: Job) -> str:
    """Iteration and newest metric of a training."""
    if job.checkpoint is not None:
        return f'{job.name} test'
    entries = read_scalars(job.folder)
    steps = [e['step'] for e in entries if 'lr' in e]
    now = f' {steps[-1]:.0f}' if steps else ''
    curve = val_curve(entries, job.metric)
    if curve:
        (metric,) = [m for m in METRICS.values() if m.key == job.metric]
        now += f' {metric.title} {metric.scale * curve[-1][1]:.1f}'
    return f'{job.name} seed {job.seed}{now}'


def run_jobs(jobs: Sequence[Job], pool: Pool) -> None:
    """Do jobs, and go on with the others when one fails.

    A job whose process dies is repeated, up to ``ATTEMPTS`` times in all.

    Args:
        jobs (Sequence[Job]): Those that have a result already are skipped.
        pool (Pool): Where they run; closed at the end.

    Raises:
        FileExistsError: If a folder holds a job with other options.
        RuntimeError: If a job failed; the message lists them.
    """
    for job in jobs:
        job.claim()
    waiting: Deque[Tuple[Job, int]] = deque(
        (job, 1) for job in jobs if not job.done
    )
    running: Dict[int, Tuple[Job, int, Future]] = {}
    slots = range(min(pool.slots, len(waiting)))
    progress = Progress(len(waiting))
    failed: List[str] = []
    try:
        while waiting or running:
            for slot in slots:
                if waiting and slot not in running:
                    job, attempt = waiting.popleft()
                    running[slot] = (job, attempt, pool.submit(slot, job))
            for slot, (job, attempt, future) in list(running.items()):
                if not future.done():
                    continue
                del running[slot]
                error = future.exception()
                if isinstance(error, BrokenProcessPool) and attempt < ATTEMPTS:
                    waiting.append((job, attempt + 1))
                    continue
                progress.done += 1
                reason = repr(error) if error else future.result()
                if reason:
                    failed.append(
                        f'  {job.name}, seed {job.seed}: {reason} '
                        f'(see {job.folder / LOG})'
                    )
            progress.show([job for job, _, _ in running.values()])
            time.sleep(0.2)
    finally:
        pool.close()
        progress.end()
    if failed:
        raise RuntimeError(
            f'{len(failed)} of {progress.count} trainings failed; run the '
            'same command again to repeat them:\n' + '\n'.join(failed)
        )
