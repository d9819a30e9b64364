"""Checkpoints of other projects for the networks of this one."""

import os
import re
from typing import Callable, Dict, List, Tuple, TypedDict, Union

import torch

from .build import build_model, load_config
from .load import (
    StateDict,
    first_few,
    load_weights,
    not_tensors,
    strip_prefix,
)
from .read import Checkpoint, PathLike, read_checkpoint
from .write import new_file, refuse_to_overwrite

Rules = List[Tuple[str, Union[str, Callable[[re.Match], str]]]]


class ConvertFacts(TypedDict):
    """What :func:`convert_checkpoint` wrote.

    Attributes:
        source (str): The kind of file that it was read as.
        part (str): Which part of the file was taken.
        weights (int): Number of tensors.
        parameters (int): Parameters of the model.
    """

    source: str
    part: str
    weights: int
    parameters: int


def _less_one(template: str) -> Callable[[re.Match], str]:
    """Put groups of a match into a template, the one named n less one."""

    def replace(match: re.Match) -> str:
        groups = match.groupdict()
        return template.format(**dict(groups, n=int(groups['n']) - 1))

    return replace


#: Renames of each kind of file, tried in order; all that match apply.
RULES: Dict[str, Rules] = {
    # Files of mdistiller, RepDistiller and CTKD; torchvision's ResNets.
    'mdistiller': [
        (r'^(fc|linear|classifier)\.(0\.)?', 'head.fc.'),
        (r'\.shortcut\.', '.downsample.'),
        (r'^(?!head\.)', 'backbone.'),
    ],
    # timm's vision transformers, and the published ones of T2T-ViT, PiT, PVT.
    'timm': [
        (r'^head\.', 'head.fc.'),
        (r'^head_dist\.', 'head.fc_dist.'),
        (r'^transformers\.(?P<n>\d+)\.pool\.', _less_one('pools.{n}.')),
        (r'^(?!head\.)', 'backbone.'),
    ],
    # The ResNet-56 of pycls, which CTKD and LSKD use for transformers.
    'pycls': [
        (r'^stem\.conv\.', 'conv1.'),
        (r'^stem\.bn\.', 'bn1.'),
        (
            r'^s(?P<s>\d+)\.b(?P<n>\d+)\.',
            _less_one('layer{s}.{n}.'),
        ),
        (r'^(layer\d+\.\d+)\.proj\.', r'\1.downsample.0.'),
        (r'^(layer\d+\.\d+)\.bn\.', r'\1.downsample.1.'),
        (r'\.f\.a\.', '.conv1.'),
        (r'\.f\.a_bn\.', '.bn1.'),
        (r'\.f\.b\.', '.conv2.'),
        (r'\.f\.b_bn\.', '.bn2.'),
        (r'^(?!head\.)', 'backbone.'),
    ],
    # MMPretrain's ResNets have this package's names; its DeiT has others.
    'mmpretrain': [
        (r'^head\.layers\.head\.', 'head.fc.'),
        (r'^head\.layers\.head_dist\.', 'head.fc_dist.'),
        (r'^(backbone)\.patch_embed\.projection\.', r'\1.patch_embed.proj.'),
        (r'^(backbone)\.layers\.(\d+)\.ln(\d)\.', r'\1.blocks.\2.norm\3.'),
        (r'^(backbone)\.layers\.(\d+)\.attn\.', r'\1.blocks.\2.attn.'),
        (
            r'^(backbone)\.layers\.(\d+)\.ffn\.layers\.0\.0\.',
            r'\1.blocks.\2.mlp.fc1.',
        ),
        (
            r'^(backbone)\.layers\.(\d+)\.ffn\.layers\.1\.',
            r'\1.blocks.\2.mlp.fc2.',
        ),
        (r'^(backbone)\.ln1\.', r'\1.norm.'),
    ],
}
#: Where a file keeps its weights, besides MMEngine's ``state_dict``.
CONTAINERS = ('model', 'model_state', 'state_dict', 'net')


def unwrap(checkpoint: Checkpoint, what: str) -> StateDict:
    """Find the weights in a checkpoint of any of these projects.

    Args:
        checkpoint (dict): As :func:`read_checkpoint` returns it.
        what (str): How to name the file in messages.

    Raises:
        ValueError: If something that is not a tensor is among them.
    """
    weights = checkpoint['state_dict']
    for name in CONTAINERS:
        inner: object = weights.get(name)
        if isinstance(inner, dict):
            weights = inner
            break
    weights = {k: v for k, v in weights.items() if k != 'data_preprocessor'}
    others = not_tensors(weights)
    if others:
        raise ValueError(
            f'{what} has entries that are no tensors: {first_few(others)}; '
            f'expected a state dict, bare or under one of {CONTAINERS}'
        )
    if weights and all(k.startswith('module.') for k in weights):
        weights = strip_prefix(weights, 'module.')
    return weights


def is_distiller(weights: StateDict) -> bool:
    """Tell whether weights are those of a whole distiller of mdistiller.

    Its files ``latest``, ``best`` and ``epoch_N`` hold student, teacher and
    what the method learns; the student alone is in ``student_latest`` etc.
    """
    return {'student', 'teacher'} <= {k.split('.')[0] for k in weights}


def rename(weights: StateDict, source: str) -> StateDict:
    """Give weights the names of this package.

    Args:
        weights (dict): Weights by their name in the file.
        source (str): One of ``RULES``.

    Raises:
        ValueError: If two of them would get the same name.
    """
    result: StateDict = {}
    for key, value in weights.items():
        name = key
        for pattern, replacement in RULES[source]:
            name = re.sub(pattern, replacement, name)
        if name in result:
            raise ValueError(f'{key} and another entry both become {name}')
        result[name] = value
    return result


def guess_source(weights: StateDict, wanted: StateDict) -> str:
    """Choose the kind of file whose renames give most of the wanted names."""
    return max(RULES, key=lambda s: len(set(rename(weights, s)) & set(wanted)))


def convert_checkpoint(
    checkpoint: PathLike,
    config: PathLike,
    out: PathLike,
    source: str = 'auto',
    force: bool = False,
    trust: bool = False,
) -> ConvertFacts:
    """Write a checkpoint of another project in the form of this one.

    Every weight of the model must be in the file, with its shape, and every
    entry of the file must be used. Of a whole distiller of mdistiller (its
    ``best`` in place of ``student_best``) that goes for the student's part.

    Args:
        checkpoint (str or Path): File to read.
        config (str or Path): Config of the model that it is for; also as
            ``package::path``.
        out (str or Path): File to write. It is there completely or not at
            all.
        source (str): One of ``RULES``, or ``'auto'``.
        force (bool): Overwrite ``out`` if it exists.
        trust (bool): Execute pickled code in the checkpoint.

    Returns:
        ConvertFacts: What was read and written.

    Raises:
        FileExistsError: If ``out`` exists and ``force`` is not set.
        IsADirectoryError: If ``out`` is a folder.
        FileNotFoundError: If there is no such checkpoint or config.
        ValueError: If the file cannot be read, or file and model do not have
            the same weights; the message counts and names them.
    """
    refuse_to_overwrite(out, force)
    if source != 'auto' and source not in RULES:
        raise ValueError(
            f'source must be auto or one of {sorted(RULES)}, got {source!r}'
        )
    what, part = str(checkpoint), 'all'
    weights = unwrap(read_checkpoint(checkpoint, trust), what)
    if is_distiller(weights):
        part = "the student's, of a whole distiller"
        what += (
            ", the student's part of a whole distiller (mdistiller writes "
            'that part alone beside it, as student_best)'
        )
        weights = strip_prefix(weights, 'student.')
    model = build_model(load_config(os.fspath(config)))
    wanted = model.state_dict()
    if source == 'auto':
        source = guess_source(weights, wanted)
    renamed = rename(weights, source)
    what += f', read as {source},'
    unused = load_weights(model, renamed, what)
    if unused:
        raise ValueError(
            f'{what} has {len(unused)} entries that '
            f'the model has no place for (first: {first_few(unused)})'
        )
    state = {k: renamed.get(k, v) for k, v in wanted.items()}
    with new_file(out, force) as file:
        torch.save(
            dict(state_dict=state, meta=dict(converted_from=source)), file
        )
    return ConvertFacts(
        source=source,
        part=part,
        weights=len(state),
        parameters=sum(p.numel() for p in model.parameters()),
    )
