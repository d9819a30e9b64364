"""`rankkd report`."""

from pathlib import Path
from typing import Sequence

import click

from .verb import FILE, force, telling, trust, verb


@verb()
@click.argument('work_dirs', nargs=-1, required=True, metavar='WORK_DIR...')
@click.option(
    '--out',
    type=FILE,
    default='report.html',
    show_default=True,
    help='The file.',
)
@click.option(
    '--predictions',
    multiple=True,
    type=FILE,
    metavar='FILE...',
    help='JSON of COCO results of each work dir, in place of its checkpoint.',
)
@click.option(
    '--images',
    type=click.IntRange(0),
    default=40,
    show_default=True,
    help='That are shown: those that the methods differ most on.',
)
@force
@trust
@telling(OSError, ValueError)
def report(
    work_dirs: Sequence[str],
    out: str,
    predictions: Sequence[str],
    images: int,
    force: bool,
    trust: bool,
) -> None:
    """Compare the detectors of work dirs in one HTML file.

    A WORK_DIR holds the config and the checkpoint of a training; NAME=WORK_DIR
    gives it a name, and those of one name are seeds of one method. Others are
    compared with the first. Predictions are kept beside the checkpoint.
    """
    from mmdet_rankkd.experiments.explore import write_report

    path = write_report(
        work_dirs,
        Path(out),
        list(map(Path, predictions)),
        images,
        force,
        trust,
    )
    click.echo(f'report: {path} ({path.stat().st_size / 1e6:.1f} MB)')
