"""Make the virtual environment that `make demo` and `make test` run in.

    python3 requirements/install.py .venv onedl
    python3 requirements/install.py .venv-openmmlab openmmlab

Needs nothing but Python 3.10 to 3.12 with venv, a C++ compiler and a
package index. Does nothing when the environment is up to date. mmcv is
compiled once; pip caches its wheel, so that a second environment takes
seconds.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STACKS = ('onedl', 'openmmlab')
DISK_NEEDED_GB = 6
# Distributions of the stacks are installed without their dependencies: all
# of those are pinned in base.txt, with the OpenCV build that needs no libGL.
BUILT = ('mmcv', 'onedl-mmcv')


def fail(problem, remedy):
    sys.exit(f'\nset-up stopped: {problem}\n  what to do: {remedy}\n')


def read_pins(name):
    lines = (HERE / f'{name}.txt').read_text().splitlines()
    return [x.strip() for x in lines if x.strip() and not x.startswith('#')]


def fingerprint(stack):
    """Hash of everything that decides what the environment holds."""
    digest = hashlib.sha256(sys.version.encode())
    for path in ('base.txt', 'dev.txt', f'{stack}.txt', 'install.py'):
        digest.update((HERE / path).read_bytes())
    return digest.hexdigest()


def check_machine(venv):
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        fail(
            f'Python {sys.version.split()[0]} is not supported.',
            'run make with PYTHON=python3.10, python3.11 or python3.12',
        )
    try:
        import ensurepip  # noqa: F401
        import venv as _  # noqa: F401
    except ImportError:
        fail(
            'this Python has no venv module.',
            'install it (Debian, Ubuntu: apt install python3-venv)',
        )
    compiler = os.environ.get('CXX', '').split()[:1] or ['c++', 'g++']
    if not any(shutil.which(c) for c in compiler):
        fail(
            f'no C++ compiler found (looked for {", ".join(compiler)}); '
            'mmcv has to be compiled.',
            'install one (Debian, Ubuntu: apt install build-essential) '
            'or set CXX',
        )
    if not (Path(sys.base_prefix) / 'include').is_dir():
        fail(
            'the headers of this Python are missing.',
            'install them (Debian, Ubuntu: apt install python3-dev)',
        )
    free = shutil.disk_usage(venv.parent).free / 1e9
    if free < DISK_NEEDED_GB:
        fail(
            f'{free:.1f} GB free at {venv.parent}, {DISK_NEEDED_GB} needed.',
            'free some space or clone on to another disk',
        )


def run(command, log, env=None, on_line=None):
    """Run a command into the log; show its end if it fails."""
    with log.open('a') as out:
        out.write(f'$ {" ".join(map(str, command))}\n')
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            env=env,
        )
        for line in process.stdout:
            out.write(line)
            if on_line:
                on_line(line)
    if process.wait():
        tail = log.read_text().splitlines()[-25:]
        print('\n' + '\n'.join(tail))
        fail(
            f'"{" ".join(map(str, command[:6]))} ..." failed.',
            f'read {log}; it is safe to run make again',
        )


class BuildProgress:
    """Turns ninja's `[12/78]` lines into one line that counts up."""

    def __init__(self):
        self.start = time.time()
        self.tty = sys.stdout.isatty()
        self.shown = -1

    def __call__(self, line):
        match = re.match(r'\s*\[(\d+)/(\d+)\]', line)
        if not match:
            return
        done, total = map(int, match.groups())
        percent = 100 * done // total
        if percent // (1 if self.tty else 10) == self.shown:
            return
        self.shown = percent // (1 if self.tty else 10)
        minutes = (time.time() - self.start) / 60
        print(
            f'    compiling mmcv: {done}/{total} files, {percent} %, '
            f'{minutes:.1f} min',
            end='\r' if self.tty else '\n',
            flush=True,
        )


def build_env():
    env = dict(os.environ, MMCV_WITH_OPS='1')
    # Debug symbols double the compile time and nobody steps through mmcv.
    env['CFLAGS'] = (env.get('CFLAGS', '') + ' -g0').strip()
    env.setdefault('MAX_JOBS', str(os.cpu_count() or 1))
    return env


def check_cuda(python, log):
    """Mmcv compiles its CUDA ops where torch sees a GPU; that needs nvcc."""
    code = (
        'import torch; from torch.utils.cpp_extension import CUDA_HOME; '
        'print(torch.cuda.is_available(), bool(CUDA_HOME))'
    )
    out = subprocess.run([python, '-c', code], capture_output=True, text=True)
    if out.returncode:
        log.open('a').write(out.stderr)
        fail('torch was installed but does not import.', f'read {log}')
    if out.stdout.split()[-2:] == ['True', 'False']:
        fail(
            'torch sees a GPU, but the CUDA toolkit (nvcc), which compiles '
            "mmcv's GPU ops, is missing.",
            'install the toolkit of the CUDA version that torch was built '
            'with, or set CUDA_VISIBLE_DEVICES= to use the CPU only',
        )


def install(venv, stack, log):
    pip = [
        venv / 'bin/python',
        '-m',
        'pip',
        '--disable-pip-version-check',
        'install',
        '--progress-bar',
        'off',
    ]
    python = venv / 'bin/python'
    print('[1/4] torch and the libraries around it', flush=True)
    numpy, *stack_pins = read_pins(stack)
    run(pip + ['setuptools==80.10.2', 'wheel==0.45.1'], log)
    run(pip + read_pins('base') + [numpy], log)

    check_cuda(python, log)
    print(
        '[2/4] mmcv: from the cache of pip, or compiled from its source '
        '(about 10 minutes on two cores)',
        flush=True,
    )
    (mmcv,) = [p for p in stack_pins if p.split('==')[0] in BUILT]
    env = build_env()
    env['PATH'] = f'{venv / "bin"}{os.pathsep}{env["PATH"]}'  # finds ninja
    flags = ['--no-deps', '--no-build-isolation', '-v']
    run(pip + flags + [mmcv], log, env, BuildProgress())
    print('[3/4] mmengine and mmdet', flush=True)
    rest = [p for p in stack_pins if p != mmcv]
    run(pip + ['--no-deps', '--no-build-isolation'] + rest, log)

    # A cached wheel may be of another torch, without ops, or for CPU only.
    probe = [
        python,
        '-c',
        'import torch; from mmcv.ops import nms; '
        'd = "cuda" if torch.cuda.is_available() else "cpu"; '
        'nms(torch.rand(3, 4, device=d), torch.rand(3, device=d), 0.5)',
    ]
    if subprocess.run(probe, capture_output=True).returncode:
        print(
            '    the cached wheel does not fit this torch: compiling anew',
            flush=True,
        )
        name = mmcv.replace('-', '_').replace('==', '-')
        run([python, '-m', 'pip', 'cache', 'remove', f'{name}-*'], log)
        run(
            pip + flags + ['--force-reinstall', mmcv],
            log,
            env,
            BuildProgress(),
        )
        run(probe, log)

    print(
        '[4/4] test tools, and mmdet_rankkd itself from this folder',
        flush=True,
    )
    run(pip + read_pins('dev'), log)
    # A path file rather than an editable install: mmengine 0.10.7 resolves
    # `mmdet_rankkd::` bases for the one and not for the other.
    site = subprocess.check_output(
        [
            python,
            '-c',
            'import sysconfig; print(sysconfig.get_path("purelib"))',
        ],
        text=True,
    ).strip()
    (Path(site) / 'mmdet_rankkd.pth').write_text(f'{ROOT}\n')
    write_command(venv)
    run([python, '-c', 'import mmdet_rankkd, mmdet.models'], log)


def write_command(venv):
    """The console script, which no path file brings."""
    command = venv / 'bin/rankkd'
    command.write_text(
        f'#!{venv / "bin/python"}\n'
        'from mmdet_rankkd.cli.main import main\n\n'
        'main()\n'
    )
    command.chmod(0o755)


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in STACKS:
        sys.exit(__doc__)
    venv, stack = Path(sys.argv[1]).resolve(), sys.argv[2]
    stamp = venv / 'set-up-done'
    wanted = f'{fingerprint(stack)} {ROOT}'
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    check_machine(venv)
    start = time.time()
    print(
        f'setting up {venv.name} ({stack} stack); log: {venv.name}/set-up.log',
        flush=True,
    )
    if venv.exists():
        if not (venv / 'set-up.log').is_file():
            fail(
                f'{venv} exists and is not of this set-up.',
                'move it away, then run make again',
            )
        shutil.rmtree(venv)
    venv.mkdir()
    log = venv / 'set-up.log'
    log.touch()
    subprocess.run([sys.executable, '-m', 'venv', venv], check=True)
    install(venv, stack, log)
    stamp.write_text(wanted)
    print(
        f'{venv.name} is ready after {(time.time() - start) / 60:.1f} min',
        flush=True,
    )


if __name__ == '__main__':
    main()
