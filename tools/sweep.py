"""Train the cells of a table with several seeds; compare with the paper.

    python tools/sweep.py table7 --seeds 0 1 2

Stopped and started again, it goes on where it was.
"""

import argparse
from pathlib import Path

from mmdet_rankkd.analysis.demo import format_table
from mmdet_rankkd.analysis.sweep import (
    plan,
    read_results,
    read_sweep,
    run_sweep,
    table_rows,
    to_markdown,
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('sweep', help='file, or name in configs/sweeps')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
    parser.add_argument('--rows', nargs='+', help='only these')
    parser.add_argument('--columns', nargs='+', help='only these')
    parser.add_argument('--out', help='folder of the results')
    parser.add_argument('--workers', type=int, help='trainings at a time')
    parser.add_argument(
        '--list', action='store_true', help='show the trainings and stop'
    )
    parser.add_argument(
        '--table', action='store_true', help='show the table and stop'
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
        sweep = read_sweep(args.sweep)
        cells = plan(sweep, args.rows, args.columns)
        out = Path(args.out or f'work_dirs/sweeps/{sweep["cells"]}')
        if args.list:
            for cell in cells:
                print(cell.name)
            return
        if not args.table:
            run_sweep(
                sweep, cells, args.seeds, out, args.cfg_options, args.workers
            )
        which = 'best' if args.best else 'last'
        rows = table_rows(sweep, read_results(out), which)
        print(f'\n{sweep["title"]}; {which} epoch\n\n{format_table(rows)}\n')
        if not args.table:
            (out / f'{sweep["name"]}.md').write_text(to_markdown(rows) + '\n')
            print(out / f'{sweep["name"]}.md')
    except (RuntimeError, ValueError, FileNotFoundError, FileExistsError) as e:
        parser.exit(1, f'\n{e}\n')


if __name__ == '__main__':
    main()
