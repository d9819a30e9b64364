"""Every logit method on classification of handwritten digits."""

import argparse

from mmdet_rankkd.experiments.demo import run_demo


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--methods',
        nargs='+',
        help='rows of configs/sweeps/demo_cls.py, or their methods',
    )
    parser.add_argument('--seeds', nargs='+', type=int)
    parser.add_argument('--out', help='results and report')
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
        run_demo(
            'demo_cls',
            args.methods,
            args.seeds,
            args.out,
            args.cfg_options,
            args.workers,
        )
    except (RuntimeError, FileExistsError, ValueError) as error:
        parser.exit(1, f'\n{error}\n')


if __name__ == '__main__':
    main()
