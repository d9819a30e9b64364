"""Write the config of one cell of a table: a pair of networks and a method.

    python tools/make_config.py cifar100 resnet32x4_resnet8x4 kd+rank

The path of the file is printed; any training script of MMEngine takes it.
"""

import argparse

from mmdet_rankkd.analysis.cells import (
    cell_name,
    cell_sets,
    cell_text,
    parse_overrides,
    write_cell,
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('set', choices=cell_sets())
    parser.add_argument('pair', help='teacher_student')
    parser.add_argument('method', help='alone, kd, kd+rank, ...')
    parser.add_argument(
        '--set-loss',
        nargs='+',
        default=[],
        metavar='LOSS.KEY=VALUE',
        help='for example KendallRankLoss.k=2',
    )
    parser.add_argument('--out', help='file to write')
    args = parser.parse_args()
    try:
        overrides = parse_overrides(args.set_loss)
        text = cell_text(args.set, args.pair, args.method, overrides)
        name = cell_name(args.pair, args.method, overrides)
        out = args.out or f'work_dirs/configs/{args.set}/{name}.py'
        print(write_cell(out, text))
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
