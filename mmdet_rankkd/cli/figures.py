"""`rankkd figures`."""

import click

from .verb import FILE, telling, verb


@verb()
@click.argument('sweep', default='figures')
@click.option(
    '--results',
    type=FILE,
    required=True,
    help='Folder that rankkd sweep trained into.',
)
@click.option(
    '--out',
    type=FILE,
    default='work_dirs/figures_page',
    show_default=True,
    help='Folder of the page and its pictures.',
)
@telling(ValueError, FileNotFoundError)
def figures(sweep: str, results: str, out: str) -> None:
    r"""Draw the paper's figures from a sweep of classifiers.

    SWEEP is a file, or a name in configs/sweeps:

    \b
        rankkd sweep figures --seeds 0 1 2 --out work_dirs/figures
        rankkd figures figures --results work_dirs/figures

    Rows are found by their titles in configs/sweeps/figures.py; figures whose
    rows were not trained are left out, and the page says so.
    """
    from pathlib import Path

    from mmdet_rankkd.experiments.figures.page import write_figures

    click.echo(write_figures(sweep, Path(results), Path(out)))
