"""`rankkd convert`."""

import click

from .verb import FILE, force, show_facts, telling, trust, verb


@verb()
@click.argument('checkpoint', type=FILE)
@click.argument('config', type=FILE)
@click.argument('out', type=FILE)
@click.option(
    '--source',
    default='auto',
    show_default=True,
    help='Kind of the file: mdistiller, timm, pycls, mmpretrain.',
)
@force
@trust
@telling(OSError, ValueError)
def convert(
    checkpoint: str,
    config: str,
    out: str,
    source: str,
    force: bool,
    trust: bool,
) -> None:
    """Bring a checkpoint of another project into the form of this one.

    Reads files of mdistiller, RepDistiller, CTKD, pycls, torchvision, timm
    and MMPretrain. Every weight must find its place, or nothing is written.
    """
    from mmdet_rankkd.checkpoint.convert import convert_checkpoint

    show_facts(
        convert_checkpoint(checkpoint, config, out, source, force, trust)
    )
