"""What to resume from where the newest checkpoint is damaged."""

from pathlib import Path
from typing import Any, List, Optional, Tuple, Union

from mmengine.logging import print_log

from .read import read_checkpoint

#: File in which MMEngine notes the newest checkpoint.
NOTE = 'last_checkpoint'


def noted_checkpoint(folder: Union[str, Path]) -> str:
    """The checkpoint that MMEngine noted as the newest of a work folder.

    Raises:
        FileNotFoundError: If it noted none.
    """
    return (Path(folder) / NOTE).read_text().strip()


def has_checkpoint(folder: Union[str, Path]) -> bool:
    """Whether a training has left anything in its work folder."""
    folder = Path(folder)
    return (folder / NOTE).is_file() or any(folder.glob('*.pth'))


def instead_of_damaged(
    folder: Union[str, Path], trust: bool = False
) -> Optional[str]:
    """Find what to resume from where the newest checkpoint is damaged.

    The newest is the one that MMEngine noted in ``last_checkpoint``. Where it
    is cut off or missing, as after a full disk or a crash, the one of the
    most iterations among the others beside it is taken, and this is said.
    So it is where none was noted: a training may be killed between its first
    checkpoint and the note of it. Checkpoints without the optimizer's state
    are left out.

    Args:
        folder (str or Path): Work folder of the training.
        trust (bool): Execute pickled code in the checkpoints.

    Returns:
        str, optional: Its path; None if the newest is intact, or none was
        noted and none is there, which MMEngine deals with by itself.

    Raises:
        ValueError: If one was noted and none can be resumed from.
    """
    note = Path(folder) / NOTE
    newest = ''
    problem = f'checkpoint was not noted in {note}'
    if note.is_file():
        newest = noted_checkpoint(folder)
        try:
            read_checkpoint(newest, trust)
            return None
        except (FileNotFoundError, ValueError) as error:
            problem = str(error).rstrip('.')
    beside = Path(newest).parent if newest else Path(folder)
    others: List[Tuple[int, str]] = []
    for file in sorted({*beside.glob('*.pth'), *Path(folder).glob('*.pth')}):
        if str(file) == newest:
            continue
        try:
            saved: Any = read_checkpoint(file, trust)
        except ValueError:
            continue
        meta = saved.get('meta')
        if 'optimizer' in saved and isinstance(meta, dict) and 'iter' in meta:
            others.append((meta['iter'], str(file)))
    if not others:
        if not note.is_file():
            return None
        raise ValueError(
            f'the newest {problem}. There is no other in {folder} to resume '
            'from; to start anew, train without --resume, or move the folder '
            'away.'
        )
    iteration, other = max(others)
    which = 'the one before it' if note.is_file() else 'it'
    print_log(
        f'The newest {problem}. Resuming from {which}, {other} (iteration '
        f'{iteration}).'
    )
    return other
