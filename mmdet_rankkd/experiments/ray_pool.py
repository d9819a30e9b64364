"""Trainings on the machines of an existing Ray cluster, a task each."""

import os
import socket
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any, List, Optional

from .scheduler import ATTEMPTS
from .training import Job, run_job


def import_ray() -> ModuleType:
    """Ray, which is an extra.

    Raises:
        RuntimeError: If it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise RuntimeError(
            f'--ray needs Ray, which does not import ({error}); install it '
            "with pip install 'mmdet_rankkd[ray]'"
        ) from error
    return ray


def find_head(address: str) -> None:
    """Connect to ``HOST:PORT``, where Ray itself would try for minutes.

    Raises:
        OSError: If nothing answers.
        ValueError: If the port is no number.
    """
    host, colon, port = address.rpartition(':')
    if colon:
        socket.create_connection((host.split('//')[-1], int(port)), 10).close()


class RayPool:
    """A task a training, with a GPU if the cluster has any, else a core.

    Ray repeats a task whose worker or machine dies. All machines must have
    this package and share the current folder and that of the results.

    Args:
        address (str): Address of the cluster; ``'auto'`` is the one that this
            machine belongs to.

    Raises:
        RuntimeError: If Ray is not installed or there is no such cluster.
    """

    def __init__(self, address: str) -> None:
        self.ray: Any = import_ray()
        if not self.ray.is_initialized():
            try:
                find_head(address)
                self.ray.init(address=address, log_to_driver=False)
            except (OSError, ValueError) as error:
                raise RuntimeError(
                    f'no Ray cluster at {address!r}: {error}'
                ) from error
        gpus = self.ray.cluster_resources().get('GPU', 0)
        needs = dict(num_gpus=1) if gpus else dict(num_cpus=1)
        self.task = self.ray.remote(max_retries=ATTEMPTS - 1, **needs)(run_in)
        # Ray has the queue: it may grow while trainings wait.
        self.slots = 10**6
        self.tasks: List[Any] = []

    def submit(self, slot: int, job: Job) -> Future:
        """Hand a job to the cluster."""
        self.tasks.append(self.task.remote(os.getcwd(), job))
        return self.tasks[-1].future()

    def close(self) -> None:
        """Stop what has not ended."""
        if self.tasks:
            count = len(self.tasks)
            _, undone = self.ray.wait(self.tasks, num_returns=count, timeout=0)
            for task in undone:
                self.ray.cancel(task, force=True)


def run_in(folder: str, job: Job) -> Optional[str]:
    """Do a job in the driver's current folder.

    Returns:
        str, optional: Why it failed.
    """
    if not Path(folder).is_dir():
        return (
            f'there is no {folder} on this machine: all machines of the '
            'cluster must share the current folder and that of the results'
        )
    os.chdir(folder)
    return run_job(job)
