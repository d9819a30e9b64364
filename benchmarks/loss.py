"""The ranking loss: naive formula, blocks, compiled; time and memory."""

import argparse
import json
import os
import subprocess
import sys
import time

import torch
from measure import Record, alternate, clock, peak_memory

from mmdet_rankkd.losses import kendall_rank_loss, kendall_tau

SIZES = [
    (64, 100),
    (512, 81),
    (1024, 81),
    (4096, 10),
    (4096, 81),
    (4096, 200),
    (16, 1000),
    (128, 1000),
    (512, 1000),
    (256, 1203),
    (4096, 1203),
    (65536, 81),
    (1600000, 80),
]


def naive(student, teacher, k=1.0):
    """Algorithm 1 of the paper as printed, under autograd."""

    def pairs(z):
        z = (z - z.mean(1, keepdim=True)) / (z.std(1, keepdim=True) + 1e-7)
        return torch.tanh(k * (z[:, :, None] - z[:, None, :]))

    classes = student.shape[1]
    tau = (pairs(teacher) * pairs(student)).sum((1, 2))
    return -tau.mean() / (classes * (classes - 1))


def compiled(student, teacher):
    return kendall_rank_loss(student, teacher, backend='compiled')


def eager(student, teacher):
    return kendall_rank_loss(student, teacher, backend='eager')


def limits(device):
    """Seconds for a byte moved and for a reciprocal, at their best here."""
    wide = torch.rand(2**26, device=device)
    out = torch.empty_like(wide)
    byte = min(clock(lambda: out.copy_(wide)) for _ in range(5)) / 1e3
    byte /= 2 * wide.numel() * wide.element_size()
    # On a CPU in the cache of a core, repeated by one call of the compiler.
    size = 2**14 if device == 'cpu' else 2**26
    repeat = 2**10 if device == 'cpu' else 1
    small = torch.rand(size, device=device) + 1

    @torch.compile
    def divide(x, step):
        return torch.reciprocal(x + step).sum(1)

    steps = torch.arange(float(repeat), device=device)[:, None]
    divide(small[None], steps)
    best = min(clock(lambda: divide(small[None], steps)) for _ in range(5))
    return byte, best / 1e3 / (size * repeat)


def memory(**facts) -> float:
    """Peak memory in a process whose allocator gives back what is freed.

    On a GPU in this one, whose allocator knows it.
    """
    if facts['device'] != 'cpu':
        return memory_of(**facts)
    output = subprocess.run(
        [sys.executable, __file__, '--memory-of', json.dumps(facts)],
        env=dict(os.environ, MALLOC_MMAP_THRESHOLD_='65536'),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(output.stdout.split()[-1])


def memory_of(method, device, rows, classes, dtype):
    function = dict(naive=naive, eager=eager, compiled=compiled)[method]

    def step(rows):
        student, teacher = torch.randn(
            2, rows, classes, device=device, dtype=getattr(torch, dtype)
        )
        student.requires_grad_().grad = torch.zeros_like(student)
        return peak_memory(lambda: function(student, teacher).backward())

    step(min(rows, 32))
    return step(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=3, help='a case')
    parser.add_argument(
        '--naive-gib', type=float, default=10, help='memory for the naive form'
    )
    parser.add_argument('--sizes', nargs='+', metavar='NxC')
    parser.add_argument('--dtypes', nargs='+', default=['float32'])
    parser.add_argument('--memory-of', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print(memory_of(**json.loads(args.memory_of)))
        return
    sizes = SIZES
    if args.sizes:
        sizes = [tuple(map(int, size.split('x'))) for size in args.sizes]
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    record = Record('loss')
    byte, division = limits(device)
    limit = {'10^9 bytes moved': [1e12 * byte]}
    limit['10^9 reciprocals'] = [1e12 * division]
    record.add('limits', limit, '10^9 bytes moved')
    start = time.monotonic()
    kendall_rank_loss(
        *torch.randn(2, 64, 81, device=device), backend='compiled'
    )
    print(f'  first compilation {time.monotonic() - start:.1f} s')
    for dtype in args.dtypes:
        for rows, classes in sizes:
            measure(args, record, device, dtype, rows, classes)
    record.save()


def measure(args, record, device, dtype, rows, classes):
    kind = getattr(torch, dtype)
    student = torch.randn(rows, classes, device=device).to(kind)
    teacher = torch.randn(rows, classes, device=device).to(kind)
    student.requires_grad_()
    methods = dict(eager=eager, compiled=compiled)
    # The naive form has about four tensors of all pairs at its peak.
    pairs = rows * classes**2
    baseline = 'eager'
    if 4 * 4 * pairs < args.naive_gib * 2**30:
        methods = dict(naive=naive, **methods)
        baseline = 'naive'
    elif pairs > 5e9 and device == 'cpu':
        del methods['eager']
        baseline = 'compiled'

    def both(method):
        student.grad = None
        method(student, teacher).backward()

    def forward(method):
        return method(student, teacher)

    def graph(name):
        student.grad = None
        return methods[name](student, teacher)

    facts = dict(rows=rows, classes=classes, dtype=dtype)
    if pairs <= 2e8 or device != 'cpu':
        times = alternate(
            dict.fromkeys(methods, torch.Tensor.backward),
            args.seconds,
            prepare=graph,
        )
        record.add(f'{rows} x {classes} backward', times, baseline, **facts)
    whats = [('forward+backward', both), ('forward', forward)]
    for what, call in whats[: 1 if pairs > 2e8 and device == 'cpu' else 2]:
        functions = {
            name: lambda method=method, call=call: call(method)
            for name, method in methods.items()
        }
        times = alternate(functions, args.seconds)
        if what == 'forward':
            tau = {'exact tau': lambda: kendall_tau(student, teacher)}
            times.update(alternate(tau, 1))
            peaks = None
        else:
            peaks = {
                name: memory(
                    method=name,
                    device=device,
                    rows=rows,
                    classes=classes,
                    dtype=dtype,
                )
                for name in methods
            }
        record.add(
            f'{rows} x {classes} {what}', times, baseline, peaks, **facts
        )


if __name__ == '__main__':
    main()
