"""CIFAR-100 in its official Python form, read without executing code."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image

from mmdet_rankkd.compat import numpy_multiarray
from mmdet_rankkd.registry import DATASETS

from .image_files import folders_in, is_hidden

FOLDER = 'cifar-100-python'
ARCHIVE = 'cifar-100-python.tar.gz'
#: What each file must have: that of class names, and those of images.
META = {'fine_label_names'}
ENTRIES = {'data', 'fine_labels'}
#: What reading a damaged pickle raises.
DAMAGE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
)
#: MD5 as published with the data set.
MD5 = {
    ARCHIVE: 'eb9058c3a382ffc7106e4002c42a8d85',
    'train': '16019d7e3df5f24257cddd939b257f8d',
    'test': 'f0ef6b0ae62326f3e7ffdfab6717acfc',
    'meta': '7973b15100ade9c7d40fb424638fde48',
}


def _latin1(text: str, encoding: str) -> bytes:
    """Stands in for ``codecs.encode``, which Python 3 pickles bytes with."""
    if encoding not in ('latin1', 'latin-1'):
        raise pickle.UnpicklingError(f'the encoding {encoding!r} is refused')
    return text.encode('latin1')


class ArrayUnpickler(pickle.Unpickler):
    """Reads lists, dicts, strings and NumPy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Only what a pickled array is made of."""
        allowed = {
            'numpy.core.multiarray': numpy_multiarray(),
            'numpy._core.multiarray': numpy_multiarray(),
            'numpy': np,
        }
        if (module, name) == ('_codecs', 'encode'):
            return _latin1
        if module in allowed and name in ('_reconstruct', 'ndarray', 'dtype'):
            return getattr(allowed[module], name)
        raise pickle.UnpicklingError(
            f'the file asks for {module}.{name}, which no CIFAR file needs; '
            'it is not read'
        )


def check_md5(data: bytes, name: str, expected: Optional[str]) -> None:
    """Raise ValueError unless the MD5 of the data is the expected one."""
    found = hashlib.md5(data).hexdigest()
    if expected and found != expected:
        raise ValueError(
            f'{name} has the MD5 {found}, not {expected}: the download is '
            'damaged or another file. Fetch it again from '
            'https://www.cs.toronto.edu/~kriz/cifar.html (or set '
            'md5=dict() for a file of your own making).'
        )


def _member(raw: bytes, name: str, archive: Path) -> bytes:
    """A file of the archive.

    Raises:
        ValueError: If the archive cannot be opened or has no such file.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            member = tar.extractfile(name)
            return b'' if member is None else member.read()
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise ValueError(
            f'{archive} cannot be read ({len(raw):,} bytes): '
            f'{type(error).__name__}: {error}'
        ) from error


@DATASETS.register_module()
class CIFAR100(BaseDataset):
    """CIFAR-100: 50,000 and 10,000 images of 32 x 32 pixels, 100 classes.

    ``data_root`` holds the archive ``cifar-100-python.tar.gz``, which is read
    as it is, or the folder that it unpacks to; or a folder ``train`` or
    ``test`` with a folder of image files for each class, whose sorted names
    are the classes in the official order. Nothing is downloaded and nothing
    written. ``img`` is RGB.

    Args:
        data_root (str): Folder of the archive, of the unpacked folder or of
            the image files.
        split (str): ``'train'`` or ``'test'``.
        md5 (dict or bool, optional): Expected hashes in place of the
            published ones, by name; False for none.
        **kwargs (Any): Those of ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If neither is there; the message says where to get
            it.
        ValueError: If a hash differs, the split is unknown, or the file is
            not what it should be.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        md5: Union[Dict[str, str], bool, None] = None,
        **kwargs: Any,
    ) -> None:
        if split not in ('train', 'test'):
            raise ValueError(f"split must be 'train' or 'test', got {split!r}")
        self.split = split
        if not (md5 is None or isinstance(md5, (dict, bool))):
            raise TypeError(
                'md5 must be a dict of hashes by file name, False for no '
                f'check, or None for the published ones, got {md5!r}'
            )
        self.md5: Dict[str, str] = MD5
        if md5 is not None and md5 is not True:
            self.md5 = md5 or {}
        super().__init__(data_root=data_root, **kwargs)

    def _read(self, name: str) -> Dict[str, Any]:
        """One of the files ``train``, ``test`` and ``meta``."""
        root = Path(self.data_root)
        path, archive = root / FOLDER / name, root / ARCHIVE
        if path.is_file():
            data = path.read_bytes()
        elif archive.is_file():
            raw = archive.read_bytes()
            check_md5(raw, str(archive), self.md5.get(ARCHIVE))
            data = _member(raw, f'{FOLDER}/{name}', archive)
        else:
            raise FileNotFoundError(
                f'CIFAR-100 is not in {root.absolute()}: put '
                f'{ARCHIVE} there (from '
                'https://www.cs.toronto.edu/~kriz/cifar.html, 161 MB), or '
                f'a folder {self.split} with a folder of images for each '
                'class, or set data_root'
            )
        check_md5(data, str(path), self.md5.get(name))
        try:
            content = ArrayUnpickler(
                io.BytesIO(data), encoding='latin1'
            ).load()
        except DAMAGE as error:
            raise ValueError(
                f'{path} cannot be read ({len(data):,} bytes): '
                f'{type(error).__name__}: {error}'
            ) from error
        wanted = META if name == 'meta' else ENTRIES
        if not isinstance(content, dict) or not wanted <= set(content):
            found = sorted(content) if isinstance(content, dict) else content
            raise ValueError(
                f'{path} is no file of CIFAR-100: it should have '
                f'{sorted(wanted)} and has {str(found)[:80]}'
            )
        return content

    def _read_folders(self, folder: Path) -> List[dict]:
        """Images of a folder with a folder for each class.

        Raises:
            ValueError: If there are not 100 of them, or an image has another
                size or cannot be read.
        """
        classes = folders_in(folder)
        if len(classes) != 100:
            raise ValueError(
                f'{folder} has {len(classes)} folders of classes, not the 100 '
                'of CIFAR-100'
            )
        self._metainfo['classes'] = classes
        found = []
        for label, name in enumerate(classes):
            for path in sorted((folder / name).iterdir()):
                if is_hidden(path.name):
                    continue
                try:
                    with Image.open(path) as image:
                        pixels = np.asarray(image.convert('RGB'))
                except OSError as error:
                    raise ValueError(
                        f'{path} cannot be read as an image: {error}'
                    ) from error
                if pixels.shape != (32, 32, 3):
                    raise ValueError(
                        f'{path} has {pixels.shape[1]} x {pixels.shape[0]} '
                        'pixels, not 32 x 32'
                    )
                found.append(dict(img=pixels, gt_label=label))
        return found

    def load_data_list(self) -> List[dict]:
        """``img`` (RGB) and ``gt_label`` of each image."""
        folder = Path(self.data_root) / self.split
        if folder.is_dir() and not (Path(self.data_root) / FOLDER).is_dir():
            return self._read_folders(folder)
        meta = self._read('meta')
        self._metainfo['classes'] = tuple(meta['fine_label_names'])
        content = self._read(self.split)
        images = np.asarray(content['data'])
        labels = content['fine_labels']
        self._check(images, labels, len(meta['fine_label_names']))
        images = images.reshape(-1, 3, 32, 32)
        images = images.transpose(0, 2, 3, 1)
        return [
            dict(img=np.ascontiguousarray(image), gt_label=int(label))
            for image, label in zip(images, labels)
        ]

    def _check(self, images: np.ndarray, labels: Any, classes: int) -> None:
        """Raise ValueError unless each image is one and has a class."""
        what = f'{self.split!r} of CIFAR-100 in {self.data_root}'
        if images.dtype != np.uint8 or images.shape[1:] != (3072,):
            raise ValueError(
                f'{what}: images must be bytes of shape (N, 3072), got '
                f'{images.dtype} {images.shape}'
            )
        if len(labels) != len(images):
            raise ValueError(
                f'{what} has {len(images)} images and {len(labels)} labels'
            )
        wrong = [
            x
            for x in labels
            if not isinstance(x, (int, np.integer)) or not 0 <= x < classes
        ]
        if wrong:
            raise ValueError(
                f'{what}: labels must be in [0, {classes}), as it names '
                f'{classes} classes, got {wrong[0]!r}'
            )
