"""What the benchmarks share: alternating runs, peak memory, the record."""

import csv
import datetime
import os
import platform
import statistics
import time
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
FIELDS = [
    'date',
    'device',
    'torch',
    'benchmark',
    'case',
    'method',
    'rows',
    'classes',
    'dtype',
    'median_ms',
    'quartile1_ms',
    'quartile3_ms',
    'peak_mib',
    'baseline',
    'ratio',
]


def device_name() -> str:
    """What the figures were taken on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    if os.path.exists('/proc/cpuinfo'):
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                model = line.split(':')[1].strip()
    return f'{model}, {torch.get_num_threads()} threads'


def clock(function) -> float:
    """Milliseconds of one call, the device's work included."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else int
    wait()
    start = time.perf_counter()
    function()
    wait()
    return 1e3 * (time.perf_counter() - start)


def alternate(
    functions: dict, seconds: float = 4, most: int = 30, prepare=None
) -> dict:
    """Milliseconds of each function, in turns, after one call unmeasured.

    Turns end when the time is up, but not before the third. ``prepare`` is
    called with the name before each call, unmeasured; its result is handed
    to the function.
    """

    def call(name: str) -> float:
        if prepare is None:
            return clock(functions[name])
        made = prepare(name)
        return clock(lambda: functions[name](made))

    for name in functions:
        call(name)
    times: dict = {name: [] for name in functions}
    end = time.monotonic() + seconds
    for turn in range(most):
        if turn > 2 and time.monotonic() > end:
            break
        for name in functions:
            times[name].append(call(name))
    return times


def peak_memory(function) -> float:
    """MiB that a call needs at its peak beyond what was there before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not os.path.exists('/proc/self/clear_refs'):
        return float('nan')
    before = _status('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')
    function()
    return max(0, _status('VmHWM') - before) / 2**10


def _status(field: str) -> int:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


class Record:
    """Prints results as they come and appends them to ``results.csv``."""

    def __init__(self, benchmark: str) -> None:
        self.path = FOLDER / 'results.csv'
        self.common = dict(
            date=datetime.datetime.now().isoformat(timespec='minutes'),
            device=device_name(),
            torch=torch.__version__,
            benchmark=benchmark,
        )
        self.rows: list = []
        print(f'{benchmark}: {self.common["device"]}, torch', end=' ')
        print(torch.__version__, flush=True)

    def add(
        self, case: str, times: dict, baseline: str, peaks=None, **facts
    ) -> None:
        """Add one case: times of each method, as ratios to the baseline."""
        base = statistics.median(times[baseline])
        for method, values in times.items():
            median = statistics.median(values)
            first, third = (
                statistics.quantiles(values, n=4)[::2]
                if len(values) > 1
                else values * 2
            )
            row = dict(
                self.common,
                case=case,
                method=method,
                median_ms=f'{median:.4g}',
                quartile1_ms=f'{first:.4g}',
                quartile3_ms=f'{third:.4g}',
                baseline=baseline,
                ratio=f'{median / base:.4g}',
                **facts,
            )
            if peaks and method in peaks:
                row['peak_mib'] = f'{peaks[method]:.4g}'
            self.rows.append(row)
            print(
                f'  {case:<44} {method:<22}{median:>10.2f} ms'
                f' [{first:.2f}, {third:.2f}]'
                f'{median / base:>9.3f} x {baseline}'
                + (f'{peaks[method]:>9.1f} MiB' if 'peak_mib' in row else ''),
                flush=True,
            )

    def save(self) -> None:
        """Append to the file of all results."""
        new = not self.path.exists()
        with self.path.open('a', newline='') as file:
            writer = csv.DictWriter(
                file, FIELDS, restval='', lineterminator='\n'
            )
            if new:
                writer.writeheader()
            writer.writerows(self.rows)
