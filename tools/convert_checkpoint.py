"""Bring a checkpoint of another project into the form of this one.

    python tools/convert_checkpoint.py FILE CONFIG OUT

Reads files of mdistiller, RepDistiller, CTKD, pycls, torchvision, timm and
MMPretrain. Every weight must find its place, or nothing is written.
"""

import argparse

from mmdet_rankkd.checkpoint.convert import RULES, convert_checkpoint


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkpoint', help='file to read')
    parser.add_argument('config', help='config of the network it is for')
    parser.add_argument('out', help='file to write')
    parser.add_argument('--source', choices=['auto', *RULES], default='auto')
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
        facts = convert_checkpoint(
            args.checkpoint,
            args.config,
            args.out,
            args.source,
            args.force,
            args.trust,
        )
    except (OSError, ValueError) as error:
        parser.exit(1, f'{error}\n')
    for name, value in facts.items():
        print(f'{name:>12}  {value}')


if __name__ == '__main__':
    main()
