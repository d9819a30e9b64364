"""ImageNet, and every set of images in folders of classes."""

import os
from pathlib import Path
from typing import Any, List, Optional

from mmengine.dataset import BaseDataset

from mmdet_rankkd.registry import DATASETS

from .image_files import SUFFIXES, folders_in, is_image


@DATASETS.register_module()
class ImageNet(BaseDataset):
    """Images by folder of their class, or by a list of paths and labels.

    Without ``ann_file``, the folders in ``data_prefix['img']`` are the
    classes, in the order of their names (``n01440764``, ...); hidden files and
    folders are left out. With it, each line of the file is a path, relative to
    that folder, and the number of its class, separated by a space, as in
    ImageNet's ``val.txt``.

    Args:
        data_root (str): Folder of the set.
        data_prefix (dict): ``img``: folder of the images in ``data_root``.
        ann_file (str): File of paths and labels.
        **kwargs (Any): Those of ``mmengine.dataset.BaseDataset``; the names
            of the classes are ``metainfo=dict(classes=[...])``.

    Raises:
        FileNotFoundError: If folder or list are not there.
        ValueError: If a line of the list is not of that form or has a class
            that ``metainfo`` does not, or if no image is found.
    """

    def __init__(
        self,
        data_root: str,
        data_prefix: Optional[dict] = None,
        ann_file: str = '',
        **kwargs: Any,
    ) -> None:
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix or dict(img='train'),
            ann_file=ann_file,
            **kwargs,
        )

    def load_data_list(self) -> List[dict]:
        """``img_path`` and ``gt_label`` of each image."""
        folder = Path(self.data_prefix['img'])
        if not folder.is_dir():
            raise FileNotFoundError(
                f'there are no images at {folder.absolute()}: set data_root '
                'and data_prefix=dict(img=...) of the data set'
            )
        found = self._by_list(folder) if self.ann_file else _by_folder(folder)
        if not found:
            place = self.ann_file or f'the folders in {folder}'
            raise ValueError(
                f'there are no images in {place} (known are '
                f'{", ".join(SUFFIXES)})'
            )
        if not self.ann_file and not self._metainfo.get('classes'):
            self._metainfo['classes'] = folders_in(folder)
        return [
            dict(img_path=str(path), gt_label=label) for path, label in found
        ]

    def _by_list(self, folder: Path) -> list:
        file = Path(self.ann_file)
        if not file.is_file():
            raise FileNotFoundError(
                f'ann_file {file.absolute()} is not a file: set data_root and '
                'ann_file of the data set'
            )
        try:
            lines = file.read_text(encoding='utf-8').splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(
                f'ann_file {file} is not a list in text: {error}'
            ) from error
        classes = self._metainfo.get('classes')
        found = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            path, _, label = line.strip().rpartition(' ')
            if not path or not label.isdigit():
                raise ValueError(
                    f'{file}, line {number}: expected "path label", got '
                    f'{line!r}'
                )
            if classes and int(label) >= len(classes):
                raise ValueError(
                    f'{file}, line {number}: class {label}, and metainfo has '
                    f'{len(classes)} classes, numbered from 0'
                )
            found.append((folder / path, int(label)))
        return found


def _by_folder(folder: Path) -> list:
    found = []
    for label, name in enumerate(folders_in(folder)):
        with os.scandir(folder / name) as entries:
            files = sorted(e.name for e in entries)
        found += [
            (folder / name / file, label) for file in files if is_image(file)
        ]
    return found
