"""Draw ``results.csv``: time and memory of the ranking loss."""

import argparse
import csv

import matplotlib
from measure import FOLDER

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

STYLES = {
    'naive': dict(color='tab:red', marker='o'),
    'eager': dict(color='tab:orange', marker='s'),
    'compiled': dict(color='tab:blue', marker='D'),
}
# At least: one division for every pair of classes; two tensors read and one
# written.
LIMITS = {
    'division limit': (dict(color='0.4', ls='--', lw=1), '10^9 reciprocals'),
    'memory limit': (dict(color='0.4', ls=':', lw=1), '10^9 bytes moved'),
}


def latest(rows):
    """The newest figure of each method and size on the newest device."""
    rows = [
        row
        for row in rows
        if row['benchmark'] == 'loss' and row['dtype'] in ('float32', '')
    ]
    rows = [row for row in rows if row['device'] == rows[-1]['device']]
    limits = {r['method']: r for r in rows if r['case'] == 'limits'}
    rows = [r for r in rows if r['case'].endswith('forward+backward')]
    points = {
        (r['method'], int(r['rows']), int(r['classes'])): r for r in rows
    }
    for name, (_, unit) in LIMITS.items():
        for _, rows, classes in list(points):
            share = rows * classes**2 / 1e9
            if name == 'memory limit':
                share = 3 * 4 * rows * classes / 1e9
            points[name, rows, classes] = dict(
                median_ms=share * float(limits[unit]['median_ms']),
                peak_mib='',
            )
    return points


def draw(axes, results, column, pick, label):
    styles = {**STYLES, **{name: style for name, (style, _) in LIMITS.items()}}
    for method, style in styles.items():
        points = sorted(
            (pick(rows, classes), float(row[column]))
            for (name, rows, classes), row in results.items()
            if name == method
            and pick(rows, classes) is not None
            and row[column]
            and float(row[column]) > 0
        )
        if points:
            axes.plot(*zip(*points), label=method, **style)
    axes.set(xscale='log', yscale='log', xlabel=label)
    axes.grid(alpha=0.3, which='major')


def draw_loss(rows, file):
    """Draw the newest figures of the newest device into a file."""
    results = latest(rows)
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), sharey='row')
    picks = (
        (lambda n, c: n if c in (80, 81) else None, 'rows N, at 81 classes'),
        (lambda n, c: c if n == 4096 else None, 'classes C, at 4096 rows'),
    )
    for column, (pick, label) in enumerate(picks):
        draw(axes[0, column], results, 'median_ms', pick, label)
        draw(axes[1, column], results, 'peak_mib', pick, label)
    axes[0, 0].set_ylabel('forward + backward, ms')
    axes[1, 0].set_ylabel('peak memory beside the inputs, MiB')
    axes[0, 0].legend(frameon=False)
    device = next(row['device'] for row in results.values())
    figure.suptitle(f'Ranking loss, float32, {device}', fontsize=11)
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--results', default=FOLDER / 'results.csv')
    parser.add_argument(
        '--out', default=FOLDER.parent / 'docs/benchmark_loss.png'
    )
    parser.add_argument(
        '--device', default='', help='one whose name has this, not the newest'
    )
    args = parser.parse_args()
    with open(args.results, newline='') as file:
        rows = [x for x in csv.DictReader(file) if args.device in x['device']]
    draw_loss(rows, args.out)
    print(args.out)


if __name__ == '__main__':
    main()
