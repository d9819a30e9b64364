"""Reading checkpoints without executing what is pickled in them."""

import importlib.util
import os
import pickle
import struct
from http.client import HTTPException
from pathlib import Path
from typing import (
    Any,
    Dict,
    List,
    Optional,
    Sequence,
    TypedDict,
    Union,
    cast,
)
from urllib.parse import urlparse

import torch

from mmdet_rankkd.compat import replace_checkpoint_loader

from .allow import allow_mmengine_checkpoints
from .diagnose import AGAIN, first_line, problem_of, refusal_of
from .load import StateDict, first_few

PathLike = Union[str, 'os.PathLike[str]']


class Meta(TypedDict, total=False):
    """What is read of the facts that MMEngine keeps beside the weights.

    Attributes:
        cfg (str): The config of the training, as text.
        dataset_meta (dict): Dataset meta with the names of the classes under
            ``classes``, or ``CLASSES`` in old files.
        CLASSES (Sequence[str]): Names of the classes in files of
            MMDetection 2.
    """

    cfg: str
    dataset_meta: Dict[str, Sequence[str]]
    CLASSES: Sequence[str]


class Checkpoint(TypedDict, total=False):
    """What is read of a checkpoint.

    Attributes:
        state_dict (dict): The weights by their name; always there. Entries
            of files of other projects need not be tensors.
        meta (dict, optional): See :class:`Meta`.
    """

    state_dict: StateDict
    meta: Optional[Meta]


#: What ``torch.load`` raises on a damaged file, besides ``UnpicklingError``.
DAMAGE = (
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def refuse_pickled_code() -> None:
    """Have MMEngine execute nothing that a checkpoint holds.

    For the rest of the process: what ``--resume``, ``load_from`` and
    ``Pretrained`` name is opened by MMEngine itself. It executes what is
    pickled in files of an address, and OneDL's that in files which cannot be
    read without. What it resumes from may hold a config, which is a program:
    it would be executed, and is left out.
    """
    replace_checkpoint_loader(_load_weights_only, _load_url_weights_only)


def _load_weights_only(
    file: Any, map_location: Any = None, weights_only: Optional[bool] = None
) -> object:
    """Stand in for the function by which MMEngine opens a checkpoint."""
    try:
        return _without_program(
            torch.load(file, map_location=map_location, weights_only=True)
        )
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'checkpoint {str(file)!r} {refusal_of(str(error))}'
        ) from error


def _load_url_weights_only(
    url: str,
    model_dir: Optional[str] = None,
    map_location: Any = None,
    progress: bool = True,
) -> object:
    """Stand in for the function by which MMEngine opens an address."""
    try:
        return _without_program(
            torch.hub.load_state_dict_from_url(
                url, model_dir, map_location, progress, weights_only=True
            )
        )
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'checkpoint {url!r} {refusal_of(str(error))}'
        ) from error


def _without_program(checkpoint: Any) -> object:
    """Take away the config that MMEngine's ``Runner.resume`` executes.

    All that it looks for in there is a list of GPUs, ``gpu_ids``.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint


def locate_file(
    path: PathLike, what: str, folder: Optional[Union[str, Path]] = None
) -> str:
    """Find a file that a config or a user names.

    Args:
        path (str or Path): An absolute path; a relative one, which is looked
            for in the current folder and then in that of the config;
            ``package::path``, a file among the configs of an installed
            package; or an address with ``://``, which is returned as it is.
        what (str): How to name the file in the message.
        folder (str, optional): Folder of the config, if it is known.

    Returns:
        str: The file's absolute path, or the address.

    Raises:
        FileNotFoundError: If there is no such file, or a folder in its place;
            the message names each place that was looked in.
        TypeError: If it is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f'{what} must be the name of a file, got {path!r}')
    path = os.fspath(path)
    if '://' in path:
        return path
    if '::' in path:
        package, name = path.split('::', 1)
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                f'{what} {path!r}: there is no package {package!r}'
            )
        places = [Path(spec.origin).parent / '.mim/configs' / name]
    else:
        places = [Path.cwd() / path]
        if folder is not None:
            places.append(Path(folder).resolve() / path)
    for place in places:
        if place.is_file():
            return str(place)
    for place in places:
        if path and place.is_dir():
            suffix = '.py' if 'config' in what else '.pth'
            files = sorted(x.name for x in place.glob(f'*{suffix}'))
            inside = first_few(files) if files else f'no {suffix} file'
            raise FileNotFoundError(
                f'{what} {path!r} is a folder, and a file is needed; it '
                f'holds {inside}'
            )
    looked = ' and '.join(dict.fromkeys(str(p.parent) for p in places))
    hint = ''
    if folder is None and not os.path.isabs(path) and '::' not in path:
        hint = '. Give an absolute path, or run from the folder it is in'
    raise FileNotFoundError(
        f'{what} {path!r} does not exist (looked in {looked}){hint}'
    )


def read_checkpoint(path: PathLike, trust: bool = False) -> Checkpoint:
    """Read a checkpoint on to the CPU.

    Args:
        path (str or Path): File, ``package::path`` (see
            :func:`locate_file`), or address beginning with http:// or
            https:// (the download is kept in torch's hub cache). With
            ``trust``, whatever MMEngine's ``CheckpointLoader`` takes.
        trust (bool): Also execute pickled code. Only for files whose origin
            you trust: they can do whatever you can.

    Returns:
        dict: The checkpoint. A bare state dict is put under ``state_dict``.

    Raises:
        FileNotFoundError: If there is no such file, or a folder in its place.
        ValueError: If the file cannot be downloaded or opened, is of another
            kind (a web page, an archive, a git-lfs pointer, ...), is cut off,
            needs pickled code or holds no state dict. The message says which
            of these, and what to do.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(
            f'checkpoint must be a file or an address, got {path!r}'
        )
    path = os.fspath(path)
    allow_mmengine_checkpoints()
    if '://' in path and not path.startswith(('http://', 'https://')):
        checkpoint = _read_elsewhere(path, trust)
    else:
        checkpoint = _read_file(path, trust)
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'checkpoint {path!r} holds a {type(checkpoint).__name__}, not '
            'a state dict'
        )
    if 'state_dict' not in checkpoint:
        checkpoint = dict(state_dict=checkpoint)
    if not isinstance(checkpoint['state_dict'], dict):
        kind = type(checkpoint['state_dict']).__name__
        raise ValueError(
            f'checkpoint {path!r} holds a {kind} under "state_dict", not a '
            'state dict'
        )
    unnamed = [k for k in checkpoint['state_dict'] if not isinstance(k, str)]
    if unnamed:
        raise ValueError(
            f'checkpoint {path!r} has entries without a name (first: '
            f'{unnamed[0]!r}), so it is no state dict'
        )
    return cast(Checkpoint, checkpoint)


def _read_file(path: str, trust: bool) -> object:
    name = f'checkpoint {path!r}'
    if '://' in path:
        file = _download(path)
        name += f' (kept in {file}; delete that to download it again)'
    else:
        file = Path(locate_file(path, 'checkpoint'))
    try:
        problem = problem_of(file)
    except OSError as error:
        raise ValueError(f'{name} cannot be opened: {error}') from error
    if problem is not None:
        raise ValueError(f'{name} {problem}')
    try:
        return torch.load(file, map_location='cpu', weights_only=not trust)
    except pickle.UnpicklingError as error:
        raise ValueError(f'{name} {refusal_of(str(error))}') from error
    except DAMAGE as error:
        if trust and isinstance(error, (AttributeError, ImportError)):
            raise ValueError(
                f'{name} needs code that is not here: {error}. Run it where '
                'that can be imported (PYTHONPATH), or write its state dict '
                'alone with torch.save.'
            ) from error
        raise ValueError(
            f'{name} is damaged ({type(error).__name__}: '
            f'{first_line(str(error))}) {AGAIN}'
        ) from error


def _download(url: str) -> Path:
    """Return a file's copy in torch's hub cache, downloaded if need be."""
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    file = folder / os.path.basename(urlparse(url).path)
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file))
        except (OSError, ValueError, HTTPException) as error:
            raise ValueError(
                f'checkpoint {url!r} cannot be downloaded: {error}'
            ) from error
    return file


def _read_elsewhere(path: str, trust: bool) -> object:
    if not trust:
        raise ValueError(
            f'checkpoint {path!r}: only files and http(s) addresses are read '
            'without pickled code'
        )
    from mmengine.runner.checkpoint import CheckpointLoader

    try:
        return CheckpointLoader.load_checkpoint(path, map_location='cpu')
    except (*DAMAGE, pickle.UnpicklingError) as error:
        raise ValueError(
            f'checkpoint {path!r} cannot be read: {error}'
        ) from error


def checkpoint_classes(checkpoint: Checkpoint) -> Optional[List[str]]:
    """Return the class names in a checkpoint of MMDetection 2 or 3, if any.

    A file can have anything there; what is no list counts as none.
    """
    meta: object = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    dataset_meta = meta.get('dataset_meta')
    if not isinstance(dataset_meta, dict):
        dataset_meta = {}
    for found in (
        dataset_meta.get('classes'),
        dataset_meta.get('CLASSES'),
        meta.get('CLASSES'),
    ):
        if isinstance(found, (list, tuple)) and found:
            return list(found)
    return None
