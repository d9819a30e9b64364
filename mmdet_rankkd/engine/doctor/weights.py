"""Which weights a student begins with."""

from typing import Any, Dict, Iterator, List, Tuple

from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from mmdet_rankkd.checkpoint.load import StateDict, first_few, strip_prefix

from .finding import NOTE, OK, PROBLEM, Finding

NAME = 'initial weights'


def initial_weights(student: nn.Module, load_from: Any = None) -> Finding:
    """Whether a student is pretrained, and all that was meant was found.

    MMEngine loads what fits and passes over the rest with a line in the log.

    Args:
        student (nn.Module): Whose ``init_weights`` was called.
        load_from (str, optional): Checkpoint of the whole student.
    """
    sources = list(pretrained(student))
    if load_from:
        sources.append(('', student, dict(checkpoint=load_from)))
    if not sources:
        return _random(student)
    said, problems = [], []
    facts: Dict[str, Any] = {}
    covered: List[str] = []
    for place, module, settings in sources:
        where = place or 'the student'
        state = source_weights(settings)
        wanted = {
            k: v
            for k, v in module.state_dict().items()
            if not k.endswith('num_batches_tracked')
        }
        lacking = [
            k
            for k, v in wanted.items()
            if k not in state or state[k].shape != v.shape
        ]
        found = len(wanted) - len(lacking)
        facts[where] = dict(found=found, wanted=len(wanted))
        text = (
            f'{where}: {found} of {len(wanted)} from {settings["checkpoint"]}'
        )
        said.append(text)
        covered.append(place)
        if lacking and place:
            problems.append(
                f'{len(lacking)} lack (first: {first_few(lacking)})'
            )
        elif not found:
            problems.append('nothing fits')
    frozen = [x for x in frozen_parts(student) if x not in covered]
    text = '; '.join([*said, *problems])
    if problems:
        return Finding(
            NAME,
            PROBLEM,
            text,
            'the checkpoint is of another network, or has a prefix: '
            "init_cfg=dict(type='Pretrained', checkpoint=..., "
            "prefix='backbone.')",
            facts,
        )
    if frozen and '' not in covered:
        return _frozen(frozen, text)
    return Finding(NAME, OK, text, '', facts)


def _random(student: nn.Module) -> Finding:
    frozen = frozen_parts(student)
    if frozen:
        return _frozen(frozen, 'random')
    return Finding(
        NAME,
        NOTE,
        'random: no part of the student is pretrained',
        'unless that is meant, give its backbone an init_cfg=dict(type='
        "'Pretrained', checkpoint=...), or set load_from",
        dict(random=True),
    )


def _frozen(frozen: List[str], said: str) -> Finding:
    return Finding(
        NAME,
        PROBLEM,
        f'{said}; weights of {", ".join(frozen)} are frozen, and they are '
        'random',
        'set frozen_stages=-1 and norm_cfg=dict(requires_grad=True) of the '
        'backbone, or load pretrained weights',
        dict(frozen=frozen),
    )


def frozen_parts(student: nn.Module) -> List[str]:
    """Parts of a student that have weights which do not learn."""
    parts = {
        name.split('.')[0]
        for name, parameter in student.named_parameters()
        if not parameter.requires_grad
    }
    return sorted(parts)


def pretrained(
    student: nn.Module,
) -> Iterator[Tuple[str, nn.Module, Dict[str, Any]]]:
    """Modules that are to be loaded: name, module and ``init_cfg``."""
    for name, module in student.named_modules():
        settings = getattr(module, 'init_cfg', None)
        each = settings if isinstance(settings, (list, tuple)) else [settings]
        for one in each:
            if isinstance(one, dict) and one.get('type') == 'Pretrained':
                yield name, module, one


def source_weights(settings: Dict[str, Any]) -> StateDict:
    """Weights of a checkpoint, read and named as MMEngine does for them."""
    checkpoint: Any = CheckpointLoader.load_checkpoint(
        settings['checkpoint'], map_location='cpu'
    )
    state: StateDict = checkpoint.get('state_dict', checkpoint)
    if state and all(k.startswith('module.') for k in state):
        state = strip_prefix(state, 'module.')
    prefix = settings.get('prefix')
    if prefix:
        state = strip_prefix(state, prefix.rstrip('.') + '.')
    return state
