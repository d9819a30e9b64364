"""`rankkd report`."""

from pathlib import Path
from typing import Any, Sequence

import click

from .verb import FILE, force, telling, verb


@verb()
@click.argument('work_dirs', nargs=-1, required=True, type=FILE)
@click.option(
    '--out',
    type=FILE,
    default='report.html',
    show_default=True,
    help='HTML file to write.',
)
@click.option(
    '--images',
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help='Pictures in it, those with most differences first.',
)
@click.option(
    '--limit',
    type=click.IntRange(0),
    default=0,
    help='Test on so many images only, taken from all of the set.',
)
@click.option(
    '--score',
    type=click.FloatRange(0.05, 1),
    default=0.3,
    show_default=True,
    help='Of the boxes shown, where the slider begins.',
)
@click.option(
    '--best', is_flag=True, help='Test best_*.pth, not the last checkpoint.'
)
@force
@telling(FileExistsError, FileNotFoundError, IsADirectoryError, ValueError)
def report(
    work_dirs: Sequence[str], out: str, force: bool, **settings: Any
) -> None:
    """Write an HTML file on what detectors find and how they differ.

    Each of WORK_DIRS is that of a training by MMDetection; its config names
    the test set, the same for all. Those with the same config are seeds of
    one method, and METHOD=WORK_DIR names it. Others are compared with the
    first. Predictions are kept in WORK_DIR/predictions.
    """
    from mmdet_rankkd.experiments.explore.page import Settings, explore

    path = explore(work_dirs, Path(out), Settings(**settings), force)
    click.echo(f'wrote {path}')
