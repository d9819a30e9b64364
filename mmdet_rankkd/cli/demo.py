"""`rankkd demo` and `rankkd demo-cls`."""

from typing import Optional, Sequence

import click

from .verb import FILE, cfg_options, seeds, telling, verb, workers

MISTAKES = (RuntimeError, FileExistsError, ValueError)
methods = click.option(
    '--methods',
    multiple=True,
    metavar='METHOD...',
    help='Rows of configs/sweeps/demo_*.py, or their methods.',
)
out = click.option(
    '--out', type=FILE, help='Folder of logs, checkpoints and the report.'
)


@verb()
@click.option(
    '--detector',
    default='faster-rcnn',
    show_default=True,
    help='faster-rcnn, retinanet, fcos, atss, gfl or rtmdet.',
)
@methods
@seeds
@out
@workers
@cfg_options
@telling(*MISTAKES)
def demo(
    detector: str,
    methods: Sequence[str],
    seeds: Sequence[int],
    out: Optional[str],
    workers: Optional[int],
    cfg_options: Sequence[str],
) -> None:
    """Teacher, student alone and distilled, on handwritten digits.

    METHODS are alone, kd, kd+rank and cwd+kd if none are named.
    """
    from mmdet_rankkd.experiments.cells import choose
    from mmdet_rankkd.experiments.demo import detectors, run_demo

    choose('demo of', detector, dict.fromkeys(detectors()))
    suffix = '' if detector == 'faster-rcnn' else f'_{detector}'
    run_demo(
        f'demo_{detector}',
        methods or ['alone', 'kd', 'kd+rank', 'cwd+kd'],
        seeds,
        out or f'work_dirs/demo{suffix}',
        cfg_options,
        workers,
    )


@verb(name='demo-cls')
@methods
@seeds
@out
@workers
@cfg_options
@telling(*MISTAKES)
def demo_cls(
    methods: Sequence[str],
    seeds: Sequence[int],
    out: Optional[str],
    workers: Optional[int],
    cfg_options: Sequence[str],
) -> None:
    """Every logit method on classification of handwritten digits."""
    from mmdet_rankkd.experiments.demo import run_demo

    run_demo('demo_cls', methods or None, seeds, out, cfg_options, workers)
