"""`rankkd check`."""

from typing import Sequence

import click

from .verb import FILE, cfg_options, telling, verb


@verb()
@click.argument('config', type=FILE)
@click.option(
    '--work-dir',
    type=FILE,
    default='work_dirs/check_teacher',
    show_default=True,
)
@click.option(
    '--min-ap',
    type=float,
    default=0.01,
    show_default=True,
    help='Fail below this AP.',
)
@cfg_options
@telling(OSError, ValueError)
def check(
    config: str, work_dir: str, min_ap: float, cfg_options: Sequence[str]
) -> None:
    """Test the teacher of a distillation config on its whole test set.

    Matches its weights with its config, its class names with the data set's,
    and evaluates it once. `doctor` does so on a sample.
    """
    from mmdet_rankkd.engine.check_teacher import check_teacher
    from mmdet_rankkd.engine.launch import read_config

    cfg = read_config(config, work_dir, cfg_options)
    try:
        facts = check_teacher(cfg)
    except (FileNotFoundError, TypeError, ValueError) as error:
        raise click.ClickException(
            f'the teacher cannot be used: {error}'
        ) from error
    click.echo('\nteacher check')
    for name, value in facts.items():
        click.echo(f'  {name:<24} {value}')
    ap = facts.get('coco/bbox_mAP')
    if isinstance(ap, float) and ap < min_ap:
        raise click.ClickException(
            f'AP {ap} is below {min_ap}: this teacher has nothing to teach. '
            'Wrong checkpoint, class order or preprocessing?'
        )
