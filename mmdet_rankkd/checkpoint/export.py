"""From a training checkpoint to a file of the plain student."""

import hashlib
from pathlib import Path
from typing import Dict, List, Optional, Tuple, TypedDict, cast

import torch
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings
from torch import nn

from .build import build_model, read_config_text
from .commands import refuse_commands
from .diagnose import first_line
from .load import StateDict, first_few
from .read import (
    Checkpoint,
    Meta,
    PathLike,
    checkpoint_classes,
    read_checkpoint,
)
from .student import (
    package_types,
    student_config,
    student_weights,
    without_stand_ins,
)
from .write import new_file, refuse_to_overwrite


class ExportFacts(TypedDict, total=False):
    """What :func:`export_student` wrote.

    Attributes:
        weights (int): Number of tensors.
        config (str): Whether the file has the student's config, and why not.
        parameters (int): Parameters of the student; only if its config is
            known.
        needs (list[str]): Types of this package in the config, without which
            it cannot be built; only if it is known.
        values (int): Values in all tensors; only if there is no config.
        dropped (dict): Number of entries left out, by their first word.
        bytes_before (int, optional): Size of a checkpoint that is a file.
        bytes_after (int): Size of the new file.
        sha256 (str): SHA-256 of the new file. It depends on the content alone.
    """

    weights: int
    config: str
    parameters: int
    needs: List[str]
    values: int
    dropped: Dict[str, int]
    bytes_before: Optional[int]
    bytes_after: int
    sha256: str


def export_student(
    checkpoint: PathLike,
    out: PathLike,
    half: bool = False,
    force: bool = False,
    trust: bool = False,
) -> ExportFacts:
    """Write the student of a training checkpoint to a file of its own.

    The file holds ``state_dict`` and ``meta`` (class names and, where the
    checkpoint knew its config, the plain student's), and no optimizer,
    scheduler or parameters of the distiller. The config is read as text; no
    code in it is executed.

    Args:
        checkpoint (str or Path): Training checkpoint of this package or of
            MMRazor.
        out (str or Path): File to write. It is there completely or not at
            all.
        half (bool): Store floating point weights in float16.
        force (bool): Overwrite ``out`` if it exists.
        trust (bool): Execute pickled code in the checkpoint.

    Returns:
        ExportFacts: What was written.

    Raises:
        FileExistsError: If ``out`` exists and ``force`` is not set.
        IsADirectoryError: If ``out`` is a folder.
        FileNotFoundError: If there is no checkpoint.
        ValueError: If the checkpoint cannot be read, its student cannot be
            built, or its weights are not those of the student in its config.
    """
    refuse_to_overwrite(out, force)
    loaded = read_checkpoint(checkpoint, trust)
    weights, dropped = student_weights(loaded['state_dict'])
    meta = Meta()
    classes = checkpoint_classes(loaded)
    if classes:
        meta['dataset_meta'] = dict(classes=tuple(classes))
    config, said = config_of(loaded)
    facts = ExportFacts(weights=len(weights), config=said)
    if config is None:
        facts['values'] = sum(v.numel() for v in weights.values())
    else:
        model = build_student(config)
        _check_keys(model, weights)
        config = Config(cast(dict, without_stand_ins(config.to_dict())))
        meta['cfg'] = config.pretty_text
        facts['parameters'] = sum(p.numel() for p in model.parameters())
        facts['needs'] = package_types(config.to_dict())
    if half:
        weights = halved(weights)
    with new_file(out, force) as file:
        torch.save(dict(state_dict=weights, meta=meta), file)
    source, content = Path(checkpoint), Path(out).read_bytes()
    facts['dropped'] = dropped
    facts['bytes_before'] = source.stat().st_size if source.is_file() else None
    facts['bytes_after'] = len(content)
    facts['sha256'] = hashlib.sha256(content).hexdigest()
    return facts


def halved(weights: StateDict) -> StateDict:
    """Floating point weights in float16."""
    return {
        k: v.half() if v.is_floating_point() else v for k, v in weights.items()
    }


def config_of(loaded: Checkpoint) -> Tuple[Optional[Config], str]:
    """Return the plain student's config, if it is known, and a word on it.

    It is read as text; no code in it is executed.
    """
    text = (loaded.get('meta') or {}).get('cfg')
    if not isinstance(text, str):
        return None, 'none in the checkpoint'
    try:
        values = read_config_text(text)
    except (SyntaxError, ValueError) as error:
        return None, f'left out, as it cannot be read: {error}'
    model = values.get('model')
    if not isinstance(model, dict):
        return None, 'left out, as it has no model'
    if 'architecture' in model:
        return None, "left out, as MMRazor's names a file of the student"
    return student_config(Config(values)), "the plain student's"


def build_student(config: Config) -> nn.Module:
    """Build the student of a checkpoint's config.

    Raises:
        ValueError: If it is made of what is no part of a model, or of what
            cannot be imported here.
    """
    try:
        if config.get('custom_imports'):
            import_modules_from_strings(**config.custom_imports)
        refuse_commands(config.model.to_dict())
        return build_model(config)
    except Exception as error:
        raise ValueError(
            "the student of the checkpoint's config cannot be built here "
            f'({type(error).__name__}: {first_line(str(error))}) Run this '
            'where its code can be imported (PYTHONPATH).'
        ) from error


def _check_keys(model: nn.Module, weights: StateDict) -> None:
    wanted = set(model.state_dict())
    missing, extra = wanted - set(weights), set(weights) - wanted
    if missing or extra:
        raise ValueError(
            'the checkpoint does not hold the student of its config: '
            f'{len(missing)} weights missing '
            f'(first: {first_few(sorted(missing))}), {len(extra)} extra '
            f'(first: {first_few(sorted(extra))})'
        )
