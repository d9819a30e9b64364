"""A model that is its student to checkpoints, optimizers and inference."""

import logging
from typing import (
    Any,
    Dict,
    Iterator,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    cast,
)

from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmdet_rankkd.checkpoint.load import DISTILLER_PREFIX
from mmdet_rankkd.compat import building_runner
from mmdet_rankkd.losses import DistillLoss
from mmdet_rankkd.recorders import Model

from .preprocessor import own_or_students

StateDict = Dict[str, Tensor]
#: Name of a part of the distiller, and its prefix in a checkpoint.
PARTS: Tuple[Tuple[str, str], ...] = (
    ('student.', ''),
    ('losses.', DISTILLER_PREFIX),
)


def checkpoint_name(name: str) -> str:
    """``student.x`` is ``x`` in a checkpoint, ``losses.x`` ``distiller.x``."""
    for part, prefix in PARTS:
        if name.startswith(part):
            return prefix + name[len(part) :]
    return name


def to_checkpoint(
    module: nn.Module, state_dict: StateDict, prefix: str, metadata: dict
) -> None:
    """State dict hook: entries by :func:`checkpoint_name`.

    Only those of student and losses: the data preprocessor's are the
    student's.
    """
    for key in [k for k in state_dict if k.startswith(prefix)]:
        value = state_dict.pop(key)
        name = key[len(prefix) :]
        if name.startswith(tuple(part for part, _ in PARTS)):
            state_dict[prefix + checkpoint_name(name)] = value


def from_checkpoint(state_dict: StateDict, prefix: str) -> None:
    """Rename the entries of a state dict: what :func:`to_checkpoint` did."""
    for key in [k for k in state_dict if k.startswith(prefix)]:
        name = key[len(prefix) :]
        if name.startswith(DISTILLER_PREFIX):
            name = 'losses.' + name[len(DISTILLER_PREFIX) :]
        else:
            name = 'student.' + name
        state_dict[prefix + name] = state_dict.pop(key)


def compare_learned(
    state_dict: StateDict, prefix: str, learning: Sequence[str], resumes: bool
) -> None:
    """Compare what losses have learned with what a checkpoint has of them.

    What the checkpoint has of other losses is removed from the state dict.

    Args:
        state_dict (dict): State dict of a checkpoint.
        prefix (str): Prefix of the distiller's entries in it.
        learning (Sequence[str]): Names of the losses that learn.
        resumes (bool): Whether the training goes on with its optimizer.

    Raises:
        ValueError: If they differ and the checkpoint is resumed: its
            optimizer is of other parameters then.
    """
    start = prefix + DISTILLER_PREFIX
    saved = {
        k[len(start) :].split('.')[0]
        for k in state_dict
        if k.startswith(start)
    }
    extra = sorted(saved - set(learning))
    lacking = sorted(set(learning) - saved)
    problems = []
    if extra:
        problems.append(
            f'the checkpoint holds what {", ".join(extra)} learned, which is '
            'not in losses'
        )
    if lacking:
        problems.append(
            f'the checkpoint holds nothing of {", ".join(lacking)}, which '
            'learns'
        )
    has_entries = any(k.startswith(prefix) for k in state_dict)
    if resumes and problems and has_entries:
        raise ValueError(
            '; '.join(problems) + '. Resume with the losses that the training '
            'began with; or start anew from its weights, with load_from and '
            'without resume.'
        )
    if extra:
        print_log(problems[0] + ': ignored', 'current', logging.WARNING)
    for key in [k for k in state_dict if k.startswith(start)]:
        if key[len(start) :].split('.')[0] in extra:
            del state_dict[key]


class StudentWrapper(BaseModel):
    """A student, and losses that may learn something of their own.

    State dict and parameters have the plain student's names, what losses
    learn is under ``distiller.``, and unknown attributes are looked up on
    the student.

    Args:
        student (nn.Module): The student.
        losses (nn.ModuleDict): Losses by their name.
        data_preprocessor (nn.Module): As everywhere in MMEngine.
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    def __init__(
        self,
        student: nn.Module,
        losses: nn.ModuleDict,
        data_preprocessor: nn.Module,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.student: Model = student
        # A ModuleDict of them is a Mapping in all but its type.
        self.losses = cast(Mapping[str, DistillLoss], losses)
        self._resumes = bool(getattr(building_runner(), '_resume', False))
        self._register_state_dict_hook(to_checkpoint)

    def __getattr__(self, name: str) -> Any:
        """Look up on the student what the wrapper does not have."""
        return own_or_students(self, super().__getattr__, name)

    def named_parameters(
        self, prefix: str = '', *args: Any, **kwargs: Any
    ) -> Iterator[Tuple[str, nn.Parameter]]:
        """Parameters by their names in a checkpoint, the student's first.

        Constructors of optimizers tell layers by how a name begins.
        """
        start = prefix + '.' if prefix else ''
        for name, parameter in super().named_parameters('', *args, **kwargs):
            yield start + checkpoint_name(name), parameter

    def _load_from_state_dict(
        self, state_dict: StateDict, prefix: str, *args: Any
    ) -> None:
        learning = [n for n, x in self.losses.items() if x.state_dict()]
        compare_learned(state_dict, prefix, learning, self._resumes)
        from_checkpoint(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
