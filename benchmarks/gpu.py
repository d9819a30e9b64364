"""The figures that need a GPU, by one command of at most eight minutes.

    python benchmarks/gpu.py --out gpu_figures

runs the benchmarks below one after the other, each in a process of its own
that is ended when its time is up, and goes on where one fails:

- the ranking loss against the limits of memory and of divisions, float32 and
  bfloat16, with RetinaNet's 1,600,000 x 80 logits,
- a distillation step, the teacher's part of it by its options, and the same
  work by the ways of other projects,
- two recorders under DDP,
- the losses of 200 steps in float32, bfloat16 and float16.

Writes the new lines of ``results.csv``, the curves, pictures of both, and
what was printed. Without a GPU it takes the figures of the CPU, for which the
time is too short; ``--share 2`` gives it twice.
"""

import argparse
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import torch
from measure import FOLDER
from plot import draw_loss

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

ROOT = FOLDER.parent
IMAGES = ('--images', '2', '--size', '800', '1344')
SIZES = ('64x100', '4096x81', '4096x200', '256x1203', '65536x81', '1600000x80')
#: Program, arguments, and the most seconds that it may take.
PARTS = {
    'loss': (
        'benchmarks/loss.py',
        ('--sizes', *SIZES, '--dtypes', 'float32', 'bfloat16'),
        120,
    ),
    'step': ('benchmarks/step.py', IMAGES, 60),
    'teacher': ('benchmarks/teacher.py', IMAGES, 50),
    'peers': ('benchmarks/peers.py', IMAGES, 80),
    'ddp': ('benchmarks/ddp.py', IMAGES, 40),
    'precision': (
        'tests/trust/precision.py',
        ('classifier', 'faster-rcnn', 'retinanet'),
        120,
    ),
}
#: How long each of a benchmark's cases is measured.
SECONDS = dict(loss=0.3, step=8, teacher=8, peers=8)


def arguments(name, out, device):
    """Of a part's command line."""
    _, given, _ = PARTS[name]
    if name in SECONDS:
        return [*given, '--seconds', str(SECONDS[name])]
    if name == 'precision':
        curves = str(out / 'precision.csv')
        return [*given, '--device', device, '--curves', curves]
    return list(given)


def run(name, out, device, share):
    """Run one part; how it ended."""
    program, _, most = PARTS[name]
    command = [sys.executable, '-W', 'ignore', str(ROOT / program)]
    start = time.monotonic()
    with (out / f'{name}.log').open('w') as log:
        part = subprocess.Popen(
            [*command, *arguments(name, out, device)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            end = 'FAILED' if part.wait(most * share) else 'done'
        except subprocess.TimeoutExpired:
            # And the processes that it has started.
            os.killpg(part.pid, signal.SIGKILL)
            part.wait()
            end = 'OUT OF TIME'
    print(f'  {name:<10} {end}, {time.monotonic() - start:.0f} s', flush=True)
    return end


def draw_times(rows, file):
    """Medians of steps and teachers as bars, with their quartiles."""
    cases = list(dict.fromkeys((r['benchmark'], r['case']) for r in rows))
    figure, axes = plt.subplots(
        len(cases), figsize=(8, 1.2 + 2 * len(cases)), squeeze=False
    )
    for place, case in zip(axes[:, 0], cases):
        bars = [r for r in rows if (r['benchmark'], r['case']) == case]
        medians = [float(r['median_ms']) for r in bars]
        errors = [
            [m - float(r['quartile1_ms']) for m, r in zip(medians, bars)],
            [float(r['quartile3_ms']) - m for m, r in zip(medians, bars)],
        ]
        names = [f'{r["method"]} ({float(r["ratio"]):.2g})' for r in bars]
        place.barh(names, medians, xerr=errors, color='tab:blue', alpha=0.7)
        place.invert_yaxis()
        place.set(title=': '.join(case), xlabel='ms, and ratio in brackets')
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def draw_precision(source, file):
    """Total losses by step, a panel each distiller and a line each dtype."""
    curves = {}
    with source.open(newline='') as lines:
        for row in csv.DictReader(lines):
            case = curves.setdefault(row['case'], {})
            case.setdefault(row['dtype'], []).append(float(row['loss']))
    wide = min(4, len(curves))
    high = -(-len(curves) // wide)
    figure, axes = plt.subplots(
        high, wide, figsize=(4 * wide, 3 * high), squeeze=False
    )
    for place in axes.flat[len(curves) :]:
        place.axis('off')
    for place, (case, by_dtype) in zip(axes.flat, curves.items()):
        for dtype, losses in by_dtype.items():
            place.plot(losses, label=dtype, lw=1)
        place.set(title=case, xlabel='step', ylabel='total loss')
        place.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--out', type=Path, default=Path('gpu_figures'))
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument(
        '--share', type=float, default=1.0, help="of each part's time"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    print(f'figures of {device}, into {args.out}', flush=True)
    results = FOLDER / 'results.csv'
    known = len(results.read_text().splitlines())
    ends, new = [], []
    for name in args.parts:
        ends.append(run(name, args.out, device, args.share))
        lines = results.read_text().splitlines()
        new = [lines[0], *lines[known:]]
        # After each part, so that it is there if this process is ended.
        (args.out / 'results.csv').write_text('\n'.join(new) + '\n')
    rows = list(csv.DictReader(new))
    if any(r['benchmark'] == 'loss' for r in rows):
        draw_loss(rows, args.out / 'loss.png')
    steps = [r for r in rows if r['benchmark'] != 'loss']
    if steps:
        draw_times(steps, args.out / 'steps.png')
    curves = args.out / 'precision.csv'
    if curves.is_file() and len(curves.read_text().splitlines()) > 1:
        draw_precision(curves, args.out / 'precision.png')
    sys.exit(any(end != 'done' for end in ends))


if __name__ == '__main__':
    main()
