"""Write the plain student of a training checkpoint to a file of its own.

Also reads the `architecture.*` checkpoints of MMRazor.
"""

import argparse

from mmdet_rankkd.checkpoint.export import export_student


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='training checkpoint')
    parser.add_argument('out', help='file to write')
    parser.add_argument(
        '--half', action='store_true', help='store the weights in float16'
    )
    parser.add_argument(
        '--force', action='store_true', help='overwrite the file'
    )
    parser.add_argument(
        '--trust',
        action='store_true',
        help='execute pickled code in the checkpoint',
    )
    args = parser.parse_args()
    try:
        facts = export_student(
            args.checkpoint, args.out, args.half, args.force, args.trust
        )
    except (OSError, ValueError) as error:
        parser.exit(1, f'{error}\n')
    for name, value in facts.items():
        print(f'{name:>12}  {value}')


if __name__ == '__main__':
    main()
