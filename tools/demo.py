"""Teacher, student alone and distilled, on handwritten digits."""

import argparse

from mmdet_rankkd.experiments.demo import detectors, run_demo


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--detector', choices=detectors(), default='faster-rcnn'
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        default=['alone', 'kd', 'kd+rank'],
        help='rows of configs/sweeps/demo_<detector>.py, or their methods',
    )
    parser.add_argument('--seeds', nargs='+', type=int)
    parser.add_argument(
        '--out', help='folder of logs, checkpoints and the report'
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
    suffix = '' if args.detector == 'faster-rcnn' else f'_{args.detector}'
    try:
        run_demo(
            f'demo_{args.detector}',
            args.methods,
            args.seeds,
            args.out or f'work_dirs/demo{suffix}',
            args.cfg_options,
            args.workers,
        )
    except (RuntimeError, FileExistsError, ValueError) as error:
        parser.exit(1, f'\n{error}\n')


if __name__ == '__main__':
    main()
