"""Teacher, student alone and distilled, on handwritten digits."""

import argparse

from mmdet_rankkd.analysis.demo import DETECTORS, METHODS, run_demo


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--detector', choices=list(DETECTORS), default='faster-rcnn'
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        choices=list(METHODS),
        default=['alone', 'kd', 'kd+rank'],
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
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
    try:
        run_demo(
            args.methods,
            args.seeds,
            args.out,
            args.cfg_options,
            args.workers,
            args.detector,
        )
    except (RuntimeError, FileExistsError, ValueError) as error:
        parser.exit(1, f'\n{error}\n')


if __name__ == '__main__':
    main()
