"""From a training checkpoint to a file of the plain student."""

import hashlib
from pathlib import Path
from typing import Any, Dict, Optional, Tuple, Union

import torch
from mmengine.config import Config

from .checkpoint import (
    DISTILLER_PREFIX,
    checkpoint_classes,
    first_few,
    read_checkpoint,
    strip_prefix,
)

PathLike = Union[str, Path]


def student_weights(
    state_dict: Dict[str, Any],
) -> Tuple[Dict[str, Any], Dict[str, int]]:
    """The student's weights of a state dict, and what was left out.

    Takes checkpoints of this package, which have the student's keys already,
    and those of MMRazor's distillation algorithms, whose student is under
    ``architecture.``.

    Returns:
        tuple[dict, dict]: Weights by plain key; number of dropped entries by
        their first word.

    Raises:
        ValueError: If there is no student in it.
    """
    is_mmrazor = any(k.startswith('architecture.') for k in state_dict)
    if is_mmrazor:
        weights = strip_prefix(state_dict, 'architecture.')
        # MMRazor keeps the data preprocessor's statistics as weights.
        weights = {
            k: v
            for k, v in weights.items()
            if not k.startswith('data_preprocessor.')
        }
    else:
        weights = {
            k: v
            for k, v in state_dict.items()
            if not k.startswith(DISTILLER_PREFIX)
        }
    dropped: Dict[str, int] = {}
    kept = {f'architecture.{k}' if is_mmrazor else k for k in weights}
    for key in state_dict:
        if key not in kept:
            word = key.split('.')[0]
            dropped[word] = dropped.get(word, 0) + 1
    if not weights:
        raise ValueError('the checkpoint holds no weights of a student')
    return weights, dropped


def student_config(config: Config) -> Config:
    """The plain student's config of a distillation config.

    Without this package it can be read, built, trained and tested.
    """
    config = config.copy()
    model = config.model
    if str(model.get('type', '')).startswith('mmdet_rankkd.Distill'):
        config.model = model.student
    config.pop('teacher', None)
    hooks = config.get('custom_hooks') or []
    config.custom_hooks = [
        h
        for h in hooks
        if not str(h.get('type', '')).startswith('mmdet_rankkd.')
    ]
    return config


def export_student(
    checkpoint: PathLike,
    out: PathLike,
    half: bool = False,
    force: bool = False,
    trust: bool = False,
) -> Dict[str, Any]:
    """Write the student of a training checkpoint to a file of its own.

    The file holds ``state_dict`` and ``meta`` (class names and, where the
    checkpoint knew its config, the plain student's), and no optimizer,
    scheduler or parameters of the distiller.

    Args:
        checkpoint (str): Training checkpoint of this package or of MMRazor.
        out (str): File to write.
        half (bool): Store floating point weights in float16.
        force (bool): Overwrite ``out`` if it exists.
        trust (bool): Execute pickled code in the checkpoint.

    Returns:
        dict: ``weights`` (their number), ``parameters``, ``dropped``,
        ``bytes_before``, ``bytes_after``, ``sha256``.

    Raises:
        FileExistsError: If ``out`` exists and ``force`` is not set.
        ValueError: If the checkpoint cannot be read, or its weights are not
            those of the student in its config.
    """
    out = Path(out)
    if out.exists() and not force:
        raise FileExistsError(
            f'{out} exists; give another name, or overwrite it with --force'
        )
    loaded = read_checkpoint(str(checkpoint), trust)
    weights, dropped = student_weights(loaded['state_dict'])
    meta: Dict[str, Any] = {}
    classes = checkpoint_classes(loaded)
    if classes:
        meta['dataset_meta'] = dict(classes=tuple(classes))
    config = _config_of(loaded)
    if config is not None:
        _check_keys(config, weights)
        # MMDetection's own network has all the weights of ours.
        meta['cfg'] = config.pretty_text.replace(
            "'mmdet_rankkd.MobileNetV2'", "'MobileNetV2'"
        )
    if half:
        weights = {
            k: v.half() if v.is_floating_point() else v
            for k, v in weights.items()
        }
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=weights, meta=meta), out)
    source = Path(checkpoint)
    return dict(
        weights=len(weights),
        parameters=sum(v.numel() for v in weights.values()),
        dropped=dropped,
        bytes_before=source.stat().st_size if source.is_file() else None,
        bytes_after=out.stat().st_size,
        sha256=hashlib.sha256(out.read_bytes()).hexdigest(),
    )


def _config_of(loaded: Dict[str, Any]) -> Optional[Config]:
    text = (loaded.get('meta') or {}).get('cfg')
    if not isinstance(text, str):
        return None
    config = Config.fromstring(text, '.py')
    if 'model' not in config or 'architecture' in config.model:
        return None  # MMRazor's, whose student is in another file
    return student_config(config)


def _check_keys(config: Config, weights: Dict[str, Any]) -> None:
    from mmdet_rankkd.distillers.teacher import build_model

    wanted = set(build_model(config).state_dict())
    missing, extra = wanted - set(weights), set(weights) - wanted
    if missing or extra:
        raise ValueError(
            'the checkpoint does not hold the student of its config: '
            f'{len(missing)} weights missing '
            f'(first: {first_few(sorted(missing))}), {len(extra)} extra '
            f'(first: {first_few(sorted(extra))})'
        )
