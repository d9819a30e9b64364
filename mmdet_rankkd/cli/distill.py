"""`rankkd distill`."""

import subprocess
import sys
from pathlib import Path
from typing import Optional, Sequence

import click

from .doctor import gpus, images, run_doctor
from .verb import FILE, force, telling, verb


@verb()
@click.argument('student', type=FILE)
@click.argument('teacher', type=FILE)
@click.argument('checkpoint', type=FILE)
@click.option(
    '--method',
    metavar='METHOD',
    help="Of those above; the family's by default.",
)
@click.option(
    '--losses',
    multiple=True,
    metavar='LOSS...',
    help='In place of a method, for example KLDivLoss KendallRankLoss.',
)
@click.option(
    '--out',
    type=FILE,
    help='Config to write; distill_<name of the student>.py by default.',
)
@force
@click.option(
    '--doctor/--no-doctor',
    default=True,
    show_default=True,
    help='Examine the config.',
)
@images
@gpus
@click.option('--train', is_flag=True, help='Train, if nothing is to mend.')
@click.option('--work-dir', type=FILE, help='Folder of the training.')
@click.option(
    '--launcher',
    type=click.Choice(['none', 'pytorch']),
    default='none',
    show_default=True,
    help='pytorch trains in as many processes as --gpus says.',
)
@telling(OSError, KeyError, TypeError, ValueError)
def distill(
    student: str,
    teacher: str,
    checkpoint: str,
    method: Optional[str],
    losses: Sequence[str],
    out: Optional[str],
    force: bool,
    doctor: bool,
    images: Optional[int],
    gpus: int,
    train: bool,
    work_dir: Optional[str],
    launcher: str,
) -> None:
    """Write the config that distils TEACHER into STUDENT.

    STUDENT and TEACHER are configs, each a file or package::path, and
    CHECKPOINT holds the weights of the teacher. What compares the two, and
    by which losses, is chosen by what they are, and said with the reason.

    \b
    METHOD
    all              kd, rank
    two-stage        dkd, pkd, cwd, fgd, mgd, fitnet, fgfi, reviewkd
    with masks       maskkd
    dense            pkd, cwd, fgd, mgd, fitnet, reviewkd, crosskd, bckd
    GFL              ld
    classifiers      dkd, dist, nkd, lskd, ctkd, fitnet, at, ofd

    Several are joined by +, as kd+rank or pkd+dkd+rank. A method that does
    not fit the two detectors is refused with the reason.
    """  # noqa: D301
    from mmdet_rankkd.engine.recipe import write_distillation

    name = student.rpartition('::')[2]
    path = Path(out or f'distill_{Path(name).stem}.py')
    recipe = write_distillation(
        student, teacher, checkpoint, path, method, losses, force
    )
    for sentence in recipe.said:
        click.echo(f'- {sentence}')
    click.echo(f'\n{path}:\n\n{path.read_text()}')
    if doctor and not run_doctor(str(path), (), images, None, gpus):
        raise click.ClickException(
            f'the doctor found something to mend. The config is in {path}; '
            f'after mending: rankkd doctor {path}'
        )
    arguments = ['train', str(path)]
    arguments += ['--work-dir', work_dir] if work_dir else []
    if not train:
        click.echo(f'\nto train: rankkd {" ".join(arguments)}')
        return
    command = [sys.executable, '-m', 'mmdet_rankkd', *arguments]
    if launcher == 'pytorch':
        command[2:3] = [
            'torch.distributed.run',
            f'--nproc_per_node={gpus}',
            '--module',
            'mmdet_rankkd',
        ]
        command += ['--launcher', 'pytorch']
    raise SystemExit(subprocess.run(command).returncode)
