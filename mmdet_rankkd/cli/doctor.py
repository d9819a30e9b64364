"""`rankkd doctor`."""

from typing import Any, Optional, Sequence

import click

from .verb import FILE, cfg_options, telling, trust, verb

images = click.option(
    '--images',
    type=click.IntRange(0),
    help='Of the validation set, that the teacher is tested on; 0 for none.'
    ' By default 20, fewer where they take longer than 20 seconds.',
)
batches = click.option(
    '--batches',
    type=click.IntRange(1),
    help='Of the training set, that are measured. By default 2, or 1 where'
    ' that takes longer than 20 seconds.',
)
gpus = click.option(
    '--gpus',
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help='On so many the training will run.',
)


def run_doctor(
    config: str,
    cfg_options: Sequence[str],
    images: Optional[int],
    batches: Optional[int],
    gpus: int,
    as_json: bool = False,
    trust: bool = False,
) -> bool:
    """Examine a config and print the table; whether nothing is to mend."""
    from mmdet_rankkd.engine import doctor
    from mmdet_rankkd.engine.launch import read_config

    def say(text: str) -> None:
        click.echo(f'{text} ...', err=True)

    cfg = read_config(config, options=cfg_options)
    findings = doctor.examine(cfg, images, batches, gpus, say, trust)
    show = doctor.to_json if as_json else doctor.to_text
    click.echo(show(findings))
    return not doctor.has_problem(findings)


@verb()
@click.argument('config', type=FILE)
@images
@batches
@gpus
@click.option('--json', 'as_json', is_flag=True, help='For scripts.')
@trust
@cfg_options
@telling(FileNotFoundError, ValueError)
def doctor(config: str, as_json: bool, **settings: Any) -> None:
    """Say what is wrong with a distillation before its first step.

    Builds the training of CONFIG as it will run, measures a few batches and
    tests the teacher on some images. Nothing is written or changed. The
    status is 0 if nothing is to mend (✗), and else 1.
    """
    if not run_doctor(config, as_json=as_json, **settings):
        raise SystemExit(1)
