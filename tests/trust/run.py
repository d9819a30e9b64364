"""What can be trusted: runs the checks and prints one table.

    python tests/trust/run.py [NAME ...]

Each line is a figure, what is promised of it, and what came out. The exit
status is 1 if a promise does not hold.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
#: What is trained in mixed precision; tests/trust/precision.py has more.
PRECISION = ('classifier', 'retinanet')
#: How far its total loss may be from that in float32, as a part of it; or
#: twice as far as rounding of the first weights moves it, in the median.
BAND = 0.03
HOOKS = 'tests/test_engine/test_hooks'
#: A line of the table: figure, promise, result, and whether it holds.
Line = Tuple[str, str, str, bool]


def run(*command: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a program of this repository with this interpreter."""
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
    return subprocess.run(
        [sys.executable, '-W', 'ignore', *command],
        cwd=ROOT,
        env={**env, **variables},
        capture_output=True,
        text=True,
    )


def reported(done: subprocess.CompletedProcess) -> List[dict]:
    """The lines of JSON that a script printed."""
    lines = [x for x in done.stdout.splitlines() if x.startswith('{')]
    return [json.loads(x) for x in lines]


def tests(
    figure: str, promise: str, *arguments: str, **variables: str
) -> Line:
    """A line of how many tests pass."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'tests.xml'
        run('-m', 'pytest', f'--junitxml={file}', *arguments, **variables)
        if not file.is_file():
            return figure, promise, 'the tests could not be run', False
        suite = ElementTree.parse(file).getroot()[0]
    count, failed, errors, skipped = (
        int(suite.get(name, 0))
        for name in ('tests', 'failures', 'errors', 'skipped')
    )
    passed = count - failed - errors - skipped
    result = f'{passed} of {count} pass'
    if skipped:
        result += f', {skipped} skipped'
    return figure, promise, result, not (failed or errors) and passed > 0


def resume() -> List[Line]:
    """Resumed trainings, and a damaged checkpoint."""
    return [
        tests(
            'exact resume, detector and classifier',
            'equal to the last bit',
            f'{HOOKS}/test_exact_resume_hook.py',
        ),
        tests(
            'a damaged newest checkpoint; two processes',
            'the one before is used, and this is said',
            'tests/test_tools/test_resume.py',
            'tests/test_checkpoint/test_latest.py',
        ),
    ]


def kills() -> List[Line]:
    """Killed trainings and full disks."""
    done = run('tests/trust/kills.py')
    promise = 'resumes from an intact checkpoint, ends equal to the last bit'
    figure = 'SIGKILL at random moments of tools/train.py'
    found = reported(done)
    if not found:
        return [(figure, promise, done.stderr[-200:], False)]
    (facts,) = found
    result = (
        f'{facts["kills"]} kills, {facts["while_writing"]} of them while a '
        f'checkpoint was written; {facts["damaged"]} damaged, '
        f'{len(facts["differences"])} differences at the end'
    )
    return [
        (figure, promise, result, done.returncode == 0),
        tests(
            'killed at each step of writing; no room on the disk',
            'the older checkpoint is intact, and the error says so',
            f'{HOOKS}/test_atomic_checkpoint_hook.py',
        ),
        tests(
            'killed sweeps',
            'no process is left; they go on',
            'tests/test_experiments/test_sweep.py',
        ),
    ]


def disk() -> List[Line]:
    """A file system that is really full."""
    done = run('tests/trust/full_disk.py')
    figure = 'a full file system while training'
    promise = 'says so; what was there is intact and gone on from, to the bit'
    facts = reported(done)
    if len(facts) != 1:
        return [(figure, promise, done.stderr[-200:], False)]
    (fact,) = facts
    if 'skipped' in fact:
        return [(figure, promise, f'not checked: {fact["skipped"]}', True)]
    result = (
        f'exit {fact["exit"]}, {fact["checkpoints"]} intact checkpoints, '
        f'{len(fact["differences"])} differences at the end'
    )
    ok = (
        done.returncode == 0
        and fact['exit'] == 1
        and 'No space left on device' in fact['error']
        and fact['checkpoints'] > 0
        and not fact['partial']
        and not fact['differences']
    )
    return [(figure, promise, result, ok)]


def precision() -> List[Line]:
    """Mixed precision on the CPU."""
    done = run('tests/trust/precision.py', *PRECISION)
    figure = 'bfloat16 and float16 autocast over 200 steps'
    promise = (
        f'finite; total loss within {BAND:.0%} of that in float32, or twice '
        'of what rounding moves it'
    )
    facts = reported(done)
    if len(facts) != 2 * len(PRECISION) or done.returncode:
        return [(figure, promise, done.stderr[-200:], False)]
    lines = []
    for fact in facts:
        name = f'{figure}: {fact["case"]}, {fact["dtype"]}'
        if not fact.get('finite'):
            why = fact.get('error') or fact['lacking']
            lines.append((name, promise, why, False))
            continue
        apart, rounding = fact['difference'], fact['rounding']
        result = f'finite, {apart:.1%}; rounding {rounding:.1%}'
        if fact['left_out']:
            result += f', {fact["left_out"]} steps left out'
        ok = apart < max(BAND, 2 * rounding)
        lines.append((name, promise, result, ok))
    return lines


def processes() -> List[Line]:
    """Two processes against one."""
    torchrun = ('-m', 'torch.distributed.run', '--standalone')
    done = run(*torchrun, '--nproc_per_node=2', 'tests/trust/processes.py')
    cases = reported(done)
    figure = 'two processes against one, gradients of the distillation'
    promise = 'within 1e-4 of the largest'
    if not cases or done.returncode:
        return [(figure, promise, done.stderr[-200:], False)]
    worst = max(cases, key=lambda x: x['difference'])
    result = (
        f'{len(cases)} cases, at most {worst["difference"]:.1e} '
        f'({worst["case"]})'
    )
    return [(figure, promise, result, worst['difference'] < 1e-4)]


def inputs() -> List[Line]:
    """Faulty and drawn inputs."""
    return [
        tests(
            'faulty configs, checkpoints, data, tensors',
            'what, where and what to do, before the first step',
            'tests/test_bad_input.py',
        ),
        tests(
            'drawn inputs of the losses, 10,000 and more',
            'finite values and gradients in four dtypes',
            'tests/test_losses/test_properties.py',
            RANKKD_CASES='10000',
        ),
    ]


def strangers() -> List[Line]:
    """Files of strangers."""
    return [
        tests(
            "strangers' files",
            'nothing is executed, wherever they are opened',
            'tests/test_strangers.py',
        )
    ]


def finite() -> List[Line]:
    """Losses that are not finite."""
    return [
        tests(
            'a loss of NaN or Inf',
            'stops within an interval; names term, step, images, a file',
            f'{HOOKS}/test_non_finite_hook.py',
        )
    ]


def drift() -> List[Line]:
    """Foreign private behaviour."""
    return [
        tests(
            'foreign private behaviour',
            'is there, or a sentence says what needs it',
            'tests/test_compat.py',
        )
    ]


PARTS: Dict[str, Callable[[], List[Line]]] = {
    part.__name__: part
    for part in (
        resume,
        kills,
        disk,
        processes,
        precision,
        inputs,
        strangers,
        finite,
        drift,
    )
}


def main() -> None:
    """Run the parts and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('names', nargs='*', metavar='NAME', help='all')
    args = parser.parse_args()
    unknown = [x for x in args.names if x not in PARTS]
    if unknown:
        parser.error(f'no {unknown}; there are {", ".join(PARTS)}')
    begin = time.time()
    print('| figure | promise | result |\n|---|---|---|', flush=True)
    holds = True
    took: Dict[str, float] = {}
    for name in args.names or PARTS:
        start = time.time()
        for figure, promise, result, ok in PARTS[name]():
            mark = '' if ok else ' **NOT AS PROMISED**'
            print(f'| {figure} | {promise} | {result}{mark} |', flush=True)
            holds &= ok
        took[name] = (time.time() - start) / 60
    print('\n' + ', '.join(f'{k} {v:.1f}' for k, v in took.items()), end='')
    print(f': {(time.time() - begin) / 60:.1f} minutes')
    sys.exit(not holds)


if __name__ == '__main__':
    main()
