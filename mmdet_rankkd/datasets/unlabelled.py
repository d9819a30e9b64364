"""Images without annotations, as they lie in a folder."""

from pathlib import Path
from typing import List, Union

from mmdet.datasets import BaseDetDataset
from PIL import Image

from mmdet_rankkd.registry import DATASETS

from .image_files import SUFFIXES, is_hidden, is_image


def find_images(folder: Union[str, Path]) -> List[str]:
    """Find the images in a folder and those below it.

    Args:
        folder (str or Path): Where to look; hidden files and folders are left
            out.

    Returns:
        list[str]: Their paths in the folder, with slashes, sorted.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there is no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no folder {folder} of images')
    files = [p for p in folder.rglob('*') if is_image(p.name) and p.is_file()]
    names = [p.relative_to(folder) for p in files]
    found = sorted(
        name.as_posix()
        for name in names
        if not any(map(is_hidden, name.parts))
    )
    if not found:
        raise ValueError(
            f'there is no image in {folder}; looked for files in '
            f'{", ".join(SUFFIXES)}'
        )
    return found


@DATASETS.register_module()
class UnlabelledDataset(BaseDetDataset):
    """All images of a folder, without annotations.

    For a detector that is distilled with ``unlabelled=True``; its pipeline
    has no ``LoadAnnotations``. The folder is ``data_prefix=dict(img=...)``,
    below ``data_root``. Sizes are read from the files' headers, once.

    Raises:
        FileNotFoundError, ValueError: As :func:`find_images`, or if a file
            is no image.
    """

    def load_data_list(self) -> List[dict]:
        """Path, number and size of each image."""
        folder = Path(self.data_prefix['img'])
        return [
            dict(img_path=str(folder / x), img_id=i, **size_of(folder / x))
            for i, x in enumerate(find_images(folder))
        ]


def size_of(file: Path) -> dict:
    """Width and height of an image in pixels, as its header says them.

    Raises:
        ValueError: If it is no image.
    """
    try:
        with Image.open(file) as image:
            return dict(width=image.width, height=image.height)
    except OSError as error:
        raise ValueError(f'{file} is no image: {error}') from error
