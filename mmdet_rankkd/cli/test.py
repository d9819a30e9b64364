"""`rankkd test`."""

from typing import Optional, Sequence

import click

from .verb import (
    FILE,
    cfg_options,
    launcher,
    local_rank,
    telling,
    trust,
    verb,
)


@verb()
@click.argument('config', type=FILE)
@click.argument('checkpoint', type=FILE)
@click.option('--work-dir', type=FILE, help='Folder of logs and results.')
@click.option('--out', type=FILE, help='Write the predictions to a .pkl file.')
@click.option('--show', is_flag=True, help='Show the predictions.')
@click.option(
    '--show-dir', type=FILE, help='Save pictures of the predictions.'
)
@click.option(
    '--wait-time', type=float, default=2, help='Seconds per picture.'
)
@click.option('--tta', is_flag=True, help='Test-time augmentation.')
@trust
@launcher
@local_rank
@cfg_options
@telling(ValueError, OSError)
def test(
    config: str,
    checkpoint: str,
    work_dir: Optional[str],
    out: Optional[str],
    show: bool,
    show_dir: Optional[str],
    wait_time: float,
    tta: bool,
    trust: bool,
    launcher: str,
    local_rank: int,
    cfg_options: Sequence[str],
) -> None:
    """Test a model, with MMDetection's flags."""
    from mmdet_rankkd.engine.launch import Pictures, read_config, test

    cfg = read_config(config, work_dir, cfg_options, launcher, local_rank)
    pictures = Pictures(show, show_dir, wait_time)
    test(cfg, checkpoint, out, pictures, tta, trust)
