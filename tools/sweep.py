"""Train the cells of a table with several seeds; compare with the paper.

    python tools/sweep.py table7 --seeds 0 1 2

Stopped and started again, it goes on where it was. With --ray the trainings
run on an existing Ray cluster, a GPU each if it has any; its machines must
have this package and share the current folder and that of the results.
"""

import argparse
from pathlib import Path

from mmdet_rankkd.experiments.publish import publish
from mmdet_rankkd.experiments.result import read_results
from mmdet_rankkd.experiments.summary import (
    difference_grid,
    figure_grid,
    to_markdown,
    to_text,
)
from mmdet_rankkd.experiments.sweep import run_table
from mmdet_rankkd.experiments.table import read_table


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('sweep', help='file, or name in configs/sweeps')
    parser.add_argument(
        '--seeds', nargs='+', type=int, help="the table's by default"
    )
    parser.add_argument('--rows', nargs='+', help='only these')
    parser.add_argument('--columns', nargs='+', help='only these')
    parser.add_argument(
        '--out',
        help='folder of the results; with --ray, one that all machines share',
    )
    parser.add_argument('--workers', type=int, help='trainings at a time')
    parser.add_argument(
        '--ray',
        metavar='ADDRESS',
        help="of a Ray cluster, or 'auto' for the one of this machine",
    )
    parser.add_argument(
        '--list', action='store_true', help='show the trainings and stop'
    )
    parser.add_argument(
        '--table', action='store_true', help='show the table and stop'
    )
    parser.add_argument(
        '--publish',
        metavar='FOLDER',
        help='write results/ and docs/results/ of the table below a folder, '
        'and stop',
    )
    parser.add_argument(
        '--best',
        action='store_true',
        help='take the best epoch of each training, not the last',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the trainings',
    )
    args = parser.parse_args()
    try:
        table = read_table(args.sweep)
        cells = table.plan(args.rows, args.columns)
        out = Path(args.out or f'work_dirs/sweeps/{table.cells.name}')
        if args.list:
            for cell in cells:
                print(cell.name)
            return
        if args.publish:
            for file in publish(table, read_results(out), Path(args.publish)):
                print(file)
            return
        if not args.table:
            run_table(
                table,
                cells,
                args.seeds or table.seeds,
                out,
                args.cfg_options,
                args.workers,
                args.ray,
            )
        epoch = 'best' if args.best else 'last'
        results = read_results(out)
        grids = [
            figure_grid(table, results, epoch=epoch),
            difference_grid(table, results, epoch=epoch),
        ]
        grids = [grid for grid in grids if len(grid) > 1]
        print(f'\n{table.title}; {epoch} epoch')
        for grid in grids:
            print('\n' + to_text(grid))
        if not args.table:
            file = out / f'{table.name}.md'
            file.write_text('\n\n'.join(map(to_markdown, grids)) + '\n')
            print(f'\n{file}')
    except (RuntimeError, ValueError, FileNotFoundError, FileExistsError) as e:
        parser.exit(1, f'\n{e}\n')


if __name__ == '__main__':
    main()
