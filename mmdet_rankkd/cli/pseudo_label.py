"""`rankkd pseudo-label`."""

from typing import Any

import click

from .verb import FILE, force, show_facts, telling, trust, verb


@verb(name='pseudo-label')
@click.argument('teacher', type=FILE)
@click.argument('checkpoint', type=FILE)
@click.argument('images', type=FILE)
@click.option('--out', type=FILE, required=True, help='File to write.')
@click.option(
    '--labelled',
    type=FILE,
    nargs=2,
    metavar='ANN.json IMAGES',
    help='Choose the threshold by F1 on these.',
)
@click.option('--threshold', type=float, help='Lowest score of a box.')
@click.option(
    '--batch-size',
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help='Images at a time.',
)
@click.option(
    '--workers',
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help='Processes that load images.',
)
@force
@trust
@telling(OSError, ValueError)
def pseudo_label(
    teacher: str, checkpoint: str, images: str, **settings: Any
) -> None:
    """Annotate a folder of IMAGES by a detector, with scores.

    TEACHER is its config, CHECKPOINT its weights. The file is in COCO's form,
    for training on it. Killed and started again, the work goes on.
    """
    from mmdet_rankkd.engine.pseudo_label import pseudo_label

    show_facts(pseudo_label(teacher, checkpoint, images, **settings))
