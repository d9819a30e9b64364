"""`rankkd make-config`."""

from typing import Optional, Sequence

import click

from .verb import FILE, cfg_options, telling, verb

set_loss = click.option(
    '--set-loss',
    multiple=True,
    metavar='LOSS.KEY=VALUE...',
    help='For example KendallRankLoss.k=2.',
)


@verb(name='make-config')
@click.argument('set')
@click.argument('pair')
@click.argument('method')
@set_loss
@click.option('--out', type=FILE, help='File to write.')
@cfg_options
@telling(ValueError, FileExistsError)
def make_config(
    set: str,
    pair: str,
    method: str,
    set_loss: Sequence[str],
    out: Optional[str],
    cfg_options: Sequence[str],
) -> None:
    r"""Write the config of one cell of a table.

    SET is one of configs/_base_/cells or a file like them, PAIR a
    teacher_student of it or a detector, METHOD alone, kd, kd+rank, ...

    \b
        rankkd make-config cifar100 resnet32x4_resnet8x4 kd+rank
        rankkd make-config digits gfl kd+rank

    The path of the file is printed; any training script of MMEngine takes it.
    """
    from mmdet_rankkd.engine.launch import parse_options
    from mmdet_rankkd.experiments.cells import (
        cell_name,
        compose,
        parse_losses,
        read_cells,
        write_config,
    )

    losses, options = parse_losses(list(set_loss)), parse_options(cfg_options)
    cells = read_cells(set)
    cfg = compose(cells, pair, method, losses, options)
    name = cell_name(pair, method, losses, options)
    click.echo(
        write_config(out or f'work_dirs/configs/{cells.name}/{name}.py', cfg)
    )
