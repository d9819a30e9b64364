"""Write the config of one cell of a table: a pair of networks and a method.

    python tools/make_config.py cifar100 resnet32x4_resnet8x4 kd+rank
    python tools/make_config.py digits gfl kd+rank

The path of the file is printed; any training script of MMEngine takes it.
"""

import argparse

from mmdet_rankkd.experiments.cells import (
    cell_name,
    cell_sets,
    compose,
    parse_losses,
    read_cells,
    write_config,
)
from mmdet_rankkd.experiments.training import parse_options


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'set', help='file, or one of ' + ', '.join(cell_sets())
    )
    parser.add_argument('pair', help='teacher_student, or a detector')
    parser.add_argument('method', help='alone, kd, kd+rank, ...')
    parser.add_argument(
        '--set-loss',
        nargs='+',
        default=[],
        metavar='LOSS.KEY=VALUE',
        help='for example KendallRankLoss.k=2',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='any other settings, for example train_cfg.max_epochs=20',
    )
    parser.add_argument('--out', help='file to write')
    args = parser.parse_args()
    try:
        losses = parse_losses(args.set_loss)
        options = parse_options(args.cfg_options)
        cells = read_cells(args.set)
        cfg = compose(cells, args.pair, args.method, losses, options)
        name = cell_name(args.pair, args.method, losses, options)
        out = args.out or f'work_dirs/configs/{cells.name}/{name}.py'
        print(write_config(out, cfg))
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
