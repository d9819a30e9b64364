"""Every logit method on classification of handwritten digits."""

import argparse

from mmdet_rankkd.analysis.demo_cls import run_demo_cls
from mmdet_rankkd.analysis.sweep import read_sweep


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--methods', nargs='+', choices=list(read_sweep('demo_cls')['rows'])
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument(
        '--out', default='work_dirs/demo_cls', help='results and report'
    )
    parser.add_argument('--workers', type=int, help='trainings at a time')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='override settings of the trainings',
    )
    args = parser.parse_args()
    try:
        run_demo_cls(
            args.methods, args.seeds, args.out, args.cfg_options, args.workers
        )
    except (RuntimeError, FileExistsError, ValueError) as error:
        parser.exit(1, f'\n{error}\n')


if __name__ == '__main__':
    main()
