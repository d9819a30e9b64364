"""Programs in processes of their own, which need not import the stack again.

The import of torch, MMCV and MMDetection takes as long as a short training. A
server (``multiprocessing``'s fork server) has imported them once, and each
program is a process that it forks: its modules, its working directory, its
exit status and its death are its own.
"""

import os
import runpy
import socket
import sys
import tempfile
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Dict, List, Optional, Union

import torch

from mmdet_rankkd.experiments.scheduler import CONTEXT
from mmdet_rankkd.ops import pairwise

from .helpers import ROOT  # which makes short trainings quick

#: In seconds; no program of the tests takes a tenth of it.
LONGEST = 600


@dataclass
class Done:
    """What a program has left."""

    returncode: int
    stdout: str
    stderr: str


def run_program(
    program: Union[str, Path],
    *args,
    cwd: Optional[Path] = None,
    env: Optional[Dict[str, str]] = None,
    status: int = 0,
) -> Done:
    """Run a file, or a text, as ``python FILE ARGS`` does.

    Raises:
        AssertionError: If its exit status is another; shows what it printed.
    """
    (done,) = run_together(program, args, cwd, [env or {}])
    said = done.stdout[-3000:] + done.stderr[-3000:]
    assert done.returncode == status, said
    return done


def forked(words: List[str], **_) -> Done:
    """In place of ``subprocess.run``, where a program runs ``rankkd`` by it.

    Args:
        words (List[str]): ``[python, ..., 'mmdet_rankkd', *arguments]``.
    """
    args = words[words.index('mmdet_rankkd') + 1 :]
    program = ROOT / 'mmdet_rankkd/__main__.py'
    (done,) = run_together(program, args, None, [{}], get_context('fork'))
    return replace(done, stdout=done.stdout + done.stderr)


def tool(
    name: str, *args, cwd: Optional[Path] = None, status: int = 0
) -> Done:
    """Run a script of ``tools/``."""
    path = ROOT / f'tools/{name}.py'
    return run_program(path, *args, cwd=cwd, status=status)


def run_two_processes(
    program: Union[str, Path], *args, env: Optional[Dict[str, str]] = None
) -> str:
    """Run a file or a text in two processes of gloo; return what they print.

    Gloo's threads may abort a process that ends by itself ("terminate called
    without an active exception"), so a script in text is ended for it.
    """
    if isinstance(program, str):
        program += END_OF_PROCESS
    port = free_port()
    ranks = [
        dict(
            env or {},
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE='2',
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=port,
        )
        for rank in range(2)
    ]
    both = run_together(program, args, None, ranks)
    said = ''.join(done.stderr[-3000:] for done in both)
    assert [done.returncode for done in both] == [0, 0], said
    return ''.join(done.stdout for done in both)


def free_port() -> str:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


END_OF_PROCESS = """
import os, sys, torch
torch.distributed.barrier()
sys.stdout.flush()
os._exit(0)
"""


def run_together(program, args, cwd, envs, context=CONTEXT) -> List[Done]:
    """A process for each environment; when one fails the others are ended."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if isinstance(program, str):
            (folder / 'program.py').write_text(program)
            program = folder / 'program.py'
        words = [str(x) for x in (program, *args)]
        processes = []
        for number, env in enumerate(envs):
            process = context.Process(
                target=be_program,
                args=(
                    words,
                    cwd or Path.cwd(),
                    {**os.environ, **env},
                    folder,
                    number,
                ),
            )
            process.start()
            processes.append(process)
        living = list(processes)
        while living:
            ended = connection.wait([x.sentinel for x in living], LONGEST)
            living = [x for x in living if x.sentinel not in ended]
            failed = any(x.exitcode for x in processes if x not in living)
            if failed or not ended:
                for process in living:
                    process.kill()
        found = []
        for number, process in enumerate(processes):
            process.join()
            texts = [
                (folder / f'{kind}{number}').read_text()
                for kind in ('out', 'err')
            ]
            found.append(Done(process.exitcode, *texts))
        return found


def be_program(words, cwd, env, folder, number):
    """Run a program in this process, which was forked for it."""
    for kind, stream in (('out', 1), ('err', 2)):
        with open(folder / f'{kind}{number}', 'wb') as file:
            os.dup2(file.fileno(), stream)
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(1)
    # It would take longer than the program.
    pairwise.MIN_PAIRS_TO_COMPILE = sys.maxsize
    os.chdir(cwd)
    sys.argv = words
    runpy.run_path(words[0], run_name='__main__')
