"""`rankkd train`."""

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
@click.option('--work-dir', type=FILE, help='Folder of logs and checkpoints.')
@click.option('--amp', is_flag=True, help='Automatic mixed precision.')
@click.option(
    '--auto-scale-lr',
    is_flag=True,
    help='Scale the learning rate with the batch size.',
)
@click.option(
    '--resume',
    is_flag=False,
    flag_value='auto',
    type=FILE,
    metavar='[CHECKPOINT]',
    help='Resume from a checkpoint, or from the latest of the work dir.',
)
@trust
@launcher
@local_rank
@cfg_options
@telling(ValueError, OSError, FloatingPointError)
def train(
    config: str,
    work_dir: Optional[str],
    amp: bool,
    auto_scale_lr: bool,
    resume: Optional[str],
    trust: bool,
    launcher: str,
    local_rank: int,
    cfg_options: Sequence[str],
) -> None:
    """Train a model, with MMDetection's flags."""
    from mmdet_rankkd.engine.launch import read_config, train

    cfg = read_config(config, work_dir, cfg_options, launcher, local_rank)
    train(cfg, amp, auto_scale_lr, resume, trust)
