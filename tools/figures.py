"""Draw figures of the paper from the trainings of a sweep on classification.

python tools/sweep.py figures --seeds 0 --out work_dirs/figures
python tools/figures.py figures --results work_dirs/figures
"""

import argparse
from pathlib import Path

from mmdet_rankkd.experiments.pictures import write_figures


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('sweep', help='file, or name in configs/sweeps')
    parser.add_argument('--results', required=True, help='folder of results')
    parser.add_argument('--seed', type=int, default=0, help='of the networks')
    parser.add_argument('--out', default='docs', help='of page and pictures')
    args = parser.parse_args()
    try:
        page = write_figures(
            args.sweep, Path(args.results), args.seed, Path(args.out)
        )
    except (ValueError, FileNotFoundError) as error:
        parser.exit(1, f'\n{error}\n')
    print(page)


if __name__ == '__main__':
    main()
