"""`rankkd tiny-imagenet`."""

import click

from .verb import FILE, telling, verb


@verb(name='tiny-imagenet')
@click.argument('root', type=FILE)
@click.option(
    '--classes',
    type=int,
    default=20,
    show_default=True,
    help='Those with boxes, of 200.',
)
@click.option(
    '--per-class',
    type=int,
    default=500,
    show_default=True,
    help='Training images of each with boxes, at most.',
)
@telling(OSError, ValueError)
def tiny_imagenet(root: str, classes: int, per_class: int) -> None:
    """Write COCO annotations of Tiny-ImageNet.

    ROOT is its folder, tiny-imagenet-200; the lists go to ROOT/annotations.
    The classes without boxes are listed for training backbones.
    """
    from mmdet_rankkd.engine.tiny_imagenet import annotate_tiny_imagenet

    for file, count in annotate_tiny_imagenet(
        root, classes, per_class
    ).items():
        click.echo(f'{root}/annotations/{file}: {count:,} images')
