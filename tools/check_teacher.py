"""Check the teacher of a distillation config before any training.

Matches its weights with its config, its class names with the data set's, and
evaluates it once on the test set of the config.
"""

import argparse

from mmengine.config import Config, DictAction

from mmdet_rankkd.engine.check_teacher import check_teacher


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='distillation config')
    parser.add_argument('--work-dir', default='work_dirs/check_teacher')
    parser.add_argument(
        '--min-ap',
        type=float,
        default=0.01,
        help='fail below this AP (default: 0.01)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE'
    )
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    cfg.work_dir = args.work_dir
    try:
        facts = check_teacher(cfg)
    except (FileNotFoundError, TypeError, ValueError) as error:
        parser.exit(1, f'the teacher cannot be used: {error}\n')
    print('\nteacher check')
    for name, value in facts.items():
        print(f'  {name:<24} {value}')
    ap = facts.get('coco/bbox_mAP')
    if ap is not None and ap < args.min_ap:
        parser.exit(
            1,
            f'\nAP {ap} is below {args.min_ap}: this teacher has nothing '
            'to teach. Wrong checkpoint, class order or preprocessing?\n',
        )


if __name__ == '__main__':
    main()
