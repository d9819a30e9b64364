"""Which files in a folder are images, and which folders are classes."""

from pathlib import Path
from typing import Tuple

#: Endings of their names, in small letters.
SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')


def is_hidden(name: str) -> bool:
    """Whether file managers and notebooks leave such files and folders."""
    return name.startswith('.')


def is_image(name: str) -> bool:
    """Whether a file of that name is an image, by its ending, and no hidden
    one.
    """
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def folders_in(folder: Path) -> Tuple[str, ...]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    found = (p.name for p in folder.iterdir() if p.is_dir())
    return tuple(sorted(name for name in found if not is_hidden(name)))
