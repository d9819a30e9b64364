"""`rankkd export`."""

import click

from .verb import FILE, force, show_facts, telling, trust, verb


@verb()
@click.argument('checkpoint', type=FILE)
@click.argument('out', type=FILE)
@click.option('--half', is_flag=True, help='Store the weights in float16.')
@force
@trust
@telling(OSError, ValueError)
def export(
    checkpoint: str, out: str, half: bool, force: bool, trust: bool
) -> None:
    """Write the plain student of a training checkpoint to a file.

    Also reads the `architecture.*` checkpoints of MMRazor.
    """
    from mmdet_rankkd.checkpoint.export import export_student

    show_facts(export_student(checkpoint, out, half, force, trust))
