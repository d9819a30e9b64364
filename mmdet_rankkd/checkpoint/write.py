"""Writing a file as a whole or not at all."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Iterator

from .read import PathLike


def refuse_to_overwrite(path: PathLike, force: bool = False) -> None:
    """Raise an error if a file cannot be written without loss.

    Args:
        path (str or Path): The file to write.
        force (bool): Whether a file that is there may be replaced.

    Raises:
        FileExistsError: If it is there and ``force`` is not set.
        IsADirectoryError: If it is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f'{path} is a folder; give the name of a file in it'
        )
    if path.exists() and not force:
        raise FileExistsError(
            f'{path} exists; give another name, or overwrite it with --force'
        )


@contextmanager
def new_file(path: PathLike, force: bool = False) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when it is complete.

    It is written under a name of its own in the same folder, which is made if
    it is not there, and renamed at the end. When the writing fails or is
    killed, the file of that name, if there was one, is as before.

    Args:
        path (str or Path): The file to write.
        force (bool): Whether a file that is there is replaced.

    Yields:
        BinaryIO: To write to.

    Raises:
        FileExistsError, IsADirectoryError: See :func:`refuse_to_overwrite`.
    """
    refuse_to_overwrite(path, force)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.partial')
    try:
        with partial.open('wb') as file:
            yield file
        refuse_to_overwrite(path, force)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: PathLike, content: bytes) -> None:
    """Write a file that is there, on the disk, as a whole or not at all.

    It is written beside as ``.NAME.partial``, synced, and moved into place,
    over what is there. When the process is killed, the file is as before or
    new, and the next attempt to write it takes the place of what was left.

    Args:
        path (str or Path): The file to write.
        content (bytes): What is in it.

    Raises:
        OSError: If it cannot be written, as on a full disk. What was there
            before is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.partial')
    try:
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            error.errno,
            f'{path} cannot be written: {error.strerror}. It needs '
            f'{len(content):,} bytes, and {free:,} are free there. Make '
            'room, or choose another folder; what was written before is as '
            'it was',
        ) from error


def sync_folder(folder: Path) -> None:
    """Have the disk know of a new name, where the system can do that."""
    if not hasattr(os, 'O_DIRECTORY'):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
