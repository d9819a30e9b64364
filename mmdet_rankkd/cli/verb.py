"""What the verbs of the command share: options, and how mistakes are told."""

from functools import partial, wraps
from typing import Any, Callable, List, Sequence, Type

import click

#: A path or ``package::path``; of type Path, so that shells complete it.
FILE = click.Path()


class Verb(click.Command):
    """A command whose repeatable options also take several values at once.

    ``--seeds 0 1 2`` is ``--seeds 0 --seeds 1 --seeds 2``, as it is for the
    scripts of MMDetection.
    """

    def parse_args(self, ctx: click.Context, args: List[str]) -> List[str]:
        """Parse the arguments of a command line."""
        flags = [
            flag
            for option in self.params
            if isinstance(option, click.Option) and option.multiple
            for flag in option.opts
        ]
        return super().parse_args(ctx, repeat_flags(args, flags))


def repeat_flags(args: Sequence[str], flags: Sequence[str]) -> List[str]:
    """Put the flag before each of the values that follow it.

    Args:
        args (Sequence[str]): Arguments of a command line.
        flags (Sequence[str]): Those that may be followed by several values,
            which end at the next argument that begins with a dash.
    """
    result: List[str] = []
    flag, values = '', 0
    for item in [*args, '--']:
        if flag and not item.startswith('-'):
            result += [flag, item]
            values += 1
            continue
        if flag and not values:
            result.append(flag)
        flag, values = (item, 0) if item in flags else ('', 0)
        if not flag:
            result.append(item)
    return result[:-1]


verb = partial(
    click.command,
    cls=Verb,
    context_settings=dict(
        help_option_names=['-h', '--help'], max_content_width=79
    ),
)
cfg_options = click.option(
    '--cfg-options',
    multiple=True,
    metavar='KEY=VALUE...',
    help='Override settings of the config.',
)
seeds = click.option(
    '--seeds', multiple=True, type=int, metavar='SEED...', help='Of each row.'
)
workers = click.option('--workers', type=int, help='Trainings at a time.')
force = click.option('--force', is_flag=True, help='Overwrite the file.')
trust = click.option(
    '--trust', is_flag=True, help='Execute pickled code in the checkpoint.'
)
launcher = click.option(
    '--launcher',
    type=click.Choice(['none', 'pytorch', 'slurm', 'mpi']),
    default='none',
    show_default=True,
    help='Job launcher.',
)
# torch.distributed.launch passes one or the other, by version.
local_rank = click.option(
    '--local_rank', '--local-rank', type=int, default=0, hidden=True
)


def telling(*errors: Type[Exception]) -> Callable[[Callable], Callable]:
    """End a command with the message of an error, and status 1.

    Args:
        *errors (type): Those that are mistakes of the user.
    """

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except errors as error:
                raise click.ClickException(str(error)) from error

        return wrapper

    return decorate


def show_facts(facts: Any) -> None:
    """Print a dict, an entry a line."""
    for name, value in facts.items():
        click.echo(f'{name:>14}  {value}')
