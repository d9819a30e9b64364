"""`rankkd sweep`."""

from pathlib import Path
from typing import Optional, Sequence

import click

from .verb import FILE, cfg_options, seeds, telling, verb, workers


@verb()
@click.argument('sweep')
@seeds
@click.option(
    '--rows',
    multiple=True,
    metavar='ROW...',
    help='Only these: by title, by a method that one row has, or all of a '
    'grid by its title.',
)
@click.option(
    '--columns', multiple=True, metavar='COLUMN...', help='Only these.'
)
@click.option(
    '--out',
    type=FILE,
    help='Folder of the results; with --ray, one that all machines share.',
)
@workers
@click.option(
    '--ray',
    metavar='ADDRESS',
    help="Of a Ray cluster, or 'auto' for the one of this machine.",
)
@click.option('--list', 'only_list', is_flag=True, help='Show the trainings.')
@click.option('--table', 'only_table', is_flag=True, help='Show the table.')
@click.option(
    '--publish',
    type=FILE,
    metavar='FOLDER',
    help='Write results/ and docs/results/ of the table below a folder.',
)
@click.option(
    '--best',
    is_flag=True,
    help='Take the best epoch of each training, not the last.',
)
@cfg_options
@telling(RuntimeError, ValueError, FileNotFoundError, FileExistsError)
def sweep(
    sweep: str,
    seeds: Sequence[int],
    rows: Sequence[str],
    columns: Sequence[str],
    out: Optional[str],
    workers: Optional[int],
    ray: Optional[str],
    only_list: bool,
    only_table: bool,
    publish: Optional[str],
    best: bool,
    cfg_options: Sequence[str],
) -> None:
    r"""Train a table with several seeds; compare with the paper.

    SWEEP is a file, or a name in configs/sweeps:

    \b
        rankkd sweep table7 --seeds 0 1 2

    Stopped and started again, it goes on where it was. With --ray the
    trainings run on an existing Ray cluster, a GPU each if it has any; its
    machines must have this package and share the current folder and that of
    the results.
    """
    from mmdet_rankkd.experiments.publish import publish as publish_table
    from mmdet_rankkd.experiments.summary import (
        difference_grid,
        figure_grid,
        to_markdown,
        to_text,
    )
    from mmdet_rankkd.experiments.sweep import results_of, run_table
    from mmdet_rankkd.experiments.table import read_table

    table = read_table(sweep)
    cells = table.plan(rows or None, columns or None)
    chosen = seeds or table.seeds
    folder = Path(out or f'work_dirs/sweeps/{table.cells.name}')
    if only_list:
        for cell in cells:
            click.echo(cell.name)
        return
    if not (only_table or publish):
        run_table(
            table,
            cells,
            chosen,
            folder,
            cfg_options,
            workers,
            ray,
        )
    results, others = results_of(table, folder, chosen)
    if others:
        numbers = ' '.join(map(str, others))
        click.echo(f'left out: seeds {numbers} in {folder}; see --seeds')
    if publish:
        for file in publish_table(table, results, Path(publish)):
            click.echo(file)
        return
    epoch = 'best' if best else 'last'
    grids = [
        figure_grid(table, results, epoch=epoch),
        difference_grid(table, results, epoch=epoch),
    ]
    grids = [grid for grid in grids if len(grid) > 1]
    click.echo(f'\n{table.title}; {epoch} epoch')
    for grid in grids:
        click.echo('\n' + to_text(grid))
    if not only_table:
        file = folder / f'{table.name}.md'
        file.write_text('\n\n'.join(map(to_markdown, grids)) + '\n')
        click.echo(f'\n{file}')
