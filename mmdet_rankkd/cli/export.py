"""`rankkd export`."""

from typing import Optional, Sequence, Tuple

import click

from .verb import FILE, force, show_facts, telling, trust, verb


@verb()
@click.argument('checkpoint', type=FILE)
@click.argument('out', type=FILE)
@click.option('--half', is_flag=True, help='Store the weights in float16.')
@click.option(
    '--safetensors', type=FILE, help='Write this file of safetensors as well.'
)
@click.option(
    '--onnx', type=FILE, help='Write this file of ONNX as well, verified.'
)
@click.option(
    '--card', type=FILE, help='Write this model card, in Markdown, as well.'
)
@click.option(
    '--images',
    multiple=True,
    type=FILE,
    metavar='IMAGE...',
    help='To verify and measure on; four of the test set by default.',
)
@click.option(
    '--teacher',
    nargs=2,
    type=FILE,
    metavar='CONFIG CHECKPOINT',
    help='Whose cost the card also has.',
)
@click.option(
    '--metrics',
    type=FILE,
    help="JSON of the student's test; the log of the training by default.",
)
@click.option('--teacher-metrics', type=FILE, help='The same of the teacher.')
@force
@trust
@telling(OSError, TypeError, ValueError)
def export(
    checkpoint: str,
    out: str,
    half: bool,
    safetensors: Optional[str],
    onnx: Optional[str],
    card: Optional[str],
    images: Sequence[str],
    teacher: Optional[Tuple[str, str]],
    metrics: Optional[str],
    teacher_metrics: Optional[str],
    force: bool,
    trust: bool,
) -> None:
    """Write the plain student of a training checkpoint to a file.

    Also reads the `architecture.*` checkpoints of MMRazor. Other formats are
    run beside the student on images, and written only if they agree.
    """
    from mmdet_rankkd.checkpoint.export import export_student

    for_card = (teacher, metrics, teacher_metrics)
    if card is None and any(for_card):
        raise ValueError(
            '--teacher, --metrics and --teacher-metrics are for --card'
        )
    if not (safetensors or onnx or card):
        if images:
            raise ValueError(
                '--images are for --safetensors, --onnx and --card'
            )
        show_facts(export_student(checkpoint, out, half, force, trust))
        return
    from mmdet_rankkd.checkpoint.write import refuse_to_overwrite
    from mmdet_rankkd.deploy.ship import ship_student
    from mmdet_rankkd.experiments.card import read_sources, write_card

    if card is not None:
        refuse_to_overwrite(card, force)
    sources = read_sources(
        checkpoint, trust, teacher, metrics, teacher_metrics
    )
    shipped = ship_student(
        checkpoint, out, half, force, trust, safetensors, onnx, images
    )
    show_facts(shipped.plain)
    show_facts(shipped.verified)
    if card is not None:
        write_card(card, shipped, sources, force)
        show_facts({card: 'model card'})
