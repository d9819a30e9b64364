"""What a few steps of a training tell; the model is as before afterwards."""

import copy
import random
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
import torch
from torch import Tensor, nn

from mmdet_rankkd.datasets.box_pixels import kept_random_state
from mmdet_rankkd.distillers import BaseDistiller
from mmdet_rankkd.recorders import listening
from mmdet_rankkd.recorders.listening import replacing
from mmdet_rankkd.structures import DistillBatch

from .kept import Kept, weight_bytes

SEED = 20
#: Parts of a student whose weights all terms share.
SHARED = ('backbone', 'neck')


@dataclass
class Step:
    """What was measured of one batch.

    Attributes:
        norms (dict): Gradient norm at the shared layers of each distillation
            term, and of ``'student'``, the sum of the student's own.
        cosines (dict): Cosine of each term's gradient with the student's.
        same (bool): Whether the student's losses, their gradients and its
            buffers are those of the plain student to the bit, with teacher
            and recorders at work.
        repeats (bool): Whether the plain student gives the same twice.
        broken (list): Names of losses, gradients and logits that are not
            finite.
        unused (list): Parameters without a gradient.
        seconds (dict): Seconds of the plain ``'student'``, of all
            (``'step'``), of the ``'teacher'`` and of each term.
        memory (dict): Peak bytes of a GPU in ``'student'`` and ``'step'``.
        kept (dict): Bytes that the ``'student'`` and each term keep for the
            way back; see :class:`Kept`.
        teacher (int): Bytes of the teacher's weights.
        batch (DistillBatch, optional): What the losses were given.
    """

    norms: Dict[str, float] = field(default_factory=dict)
    cosines: Dict[str, float] = field(default_factory=dict)
    same: bool = True
    repeats: bool = True
    broken: List[str] = field(default_factory=list)
    unused: List[str] = field(default_factory=list)
    seconds: Dict[str, float] = field(default_factory=dict)
    memory: Dict[str, int] = field(default_factory=dict)
    kept: Dict[str, int] = field(default_factory=dict)
    teacher: int = 0
    batch: Optional[DistillBatch] = None


@dataclass
class Plain:
    """A step of the plain student: losses, gradients and buffers."""

    losses: Dict[str, Any]
    gradients: Dict[str, Optional[Tensor]]
    buffers: Dict[str, Tensor]


@contextmanager
def as_before(model: BaseDistiller) -> Iterator[None]:
    """Put weights, buffers, gradients and random numbers back at the end."""
    state = {k: v.clone() for k, v in model.state_dict().items()}
    schedules = [(x, x.schedule, x.factor) for x in model.losses.values()]
    for loss in model.losses.values():
        loss.schedule, loss.factor = None, 1.0
    try:
        with kept_random_state():
            yield
    finally:
        model.load_state_dict(state)
        model.zero_grad(set_to_none=True)
        for loss, schedule, factor in schedules:
            loss.schedule, loss.factor = schedule, factor


def measure(model: BaseDistiller, data: dict) -> Step:
    """Measure one batch: the plain student twice, then all of it.

    Args:
        model (BaseDistiller): Ready to be trained; in each pass from the same
            weights and random numbers.
        data (dict): A batch of the training loader.
    """
    found = Step()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    plain = plain_step(model, data, found)
    model.load_state_dict(state)
    again = plain_step(model, data, found)
    model.load_state_dict(state)
    found.repeats = equal(plain, again)
    whole_step(model, data, found, plain)
    model.load_state_dict(state)
    return found


def begin(model: BaseDistiller) -> None:
    """The same random numbers, and no gradients."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    model.zero_grad(set_to_none=True)


def plain_step(model: BaseDistiller, data: dict, found: Step) -> Plain:
    """One pass of the student alone, and back."""
    begin(model)
    start = clock(model)
    losses = plain_losses(model, data)
    model.parse_losses(losses)[0].backward()
    found.seconds['student'] = clock(model) - start
    memory = peak(model)
    if memory is not None:
        found.memory['student'] = memory
    return Plain(losses, gradients(model.student), buffers(model.student))


def plain_losses(model: BaseDistiller, data: dict) -> Dict[str, Any]:
    """Losses of the student alone, summed over both views if there are two."""
    data = copy.deepcopy(data)
    strong = data.pop('strong_inputs', None)
    data.pop('teacher_inputs', None)
    preprocess = model.data_preprocessor.student
    inputs = preprocess(data, True)
    losses = model.student(**inputs, mode='loss')
    if strong is None:
        return losses
    second = preprocess(dict(inputs=strong), True)['inputs']
    more = model.student(second, inputs['data_samples'], mode='loss')
    return {k: v + more[k] if 'loss' in k else v for k, v in losses.items()}


def whole_step(
    model: BaseDistiller, data: dict, found: Step, plain: Plain
) -> None:
    """One pass with the teacher, and the way back of each term."""
    begin(model)
    own_batch: List[DistillBatch] = []
    kept = Kept(model)
    with (
        listening(
            next(iter(model.losses.values())),
            'distill',
            lambda _, batch: own_batch.append(batch),
        ),
        within(
            model.teacher, 'replay', lambda: timed('teacher', model, found)
        ),
    ):
        start = clock(model)
        inputs = model.data_preprocessor(copy.deepcopy(data), True)
        with kept.part('student'), ExitStack() as terms_apart:
            for name, loss in model.losses.items():
                part = partial(kept.part, name)
                terms_apart.enter_context(within(loss, 'value', part))
            losses = model(**inputs, mode='loss')
        found.seconds['step'] = clock(model) - start
    found.kept = kept.bytes
    found.teacher = weight_bytes(model.teacher.model)
    found.batch = own_batch[0] if own_batch else None
    terms = {k: v for k, v in losses.items() if k in model.losses}
    own = {k: v for k, v in losses.items() if k not in model.losses}
    own.pop('kendall_tau', None)
    totals = {
        'student': model.parse_losses(own)[0],
        **{k: model.parse_losses({k: v})[0] for k, v in terms.items()},
    }
    shared = shared_parameters(model.student)
    vectors: Dict[str, Tensor] = {}
    for name, value in totals.items():
        start = clock(model)
        vectors[name] = gradient_of(value, shared)
        if name != 'student':
            found.seconds[name] = clock(model) - start
    compare_gradients(vectors, found)
    model.zero_grad(set_to_none=True)
    totals['student'].backward(retain_graph=True)
    found.same = equal(
        plain,
        Plain(own, gradients(model.student), buffers(model.student)),
    )
    start = clock(model)
    model.zero_grad(set_to_none=True)
    model.parse_losses(losses)[0].backward()
    found.seconds['step'] += clock(model) - start
    memory = peak(model)
    if memory is not None:
        found.memory['step'] = memory
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    found.unused = [n for n, p in trained if p.grad is None]
    found.broken = not_finite(losses, trained, found.batch)


def compare_gradients(vectors: Dict[str, Tensor], found: Step) -> None:
    """Norm of each gradient, and its cosine with the student's own."""
    student = vectors['student']
    for name, vector in vectors.items():
        norm = vector.norm()
        found.norms[name] = norm.item()
        if name != 'student':
            length = (norm * student.norm()).clamp(min=1e-30)
            found.cosines[name] = (vector @ student / length).item()


def shared_parameters(student: nn.Module) -> List[nn.Parameter]:
    """Weights of backbone and neck that learn; all, if there are none."""
    named = [x for x in student.named_parameters() if x[1].requires_grad]
    shared = [p for n, p in named if n.split('.')[0] in SHARED]
    return shared or [p for _, p in named]


def gradient_of(value: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Gradient of a scalar as one vector; zero where there is no way back."""
    if not value.requires_grad:
        return torch.zeros(sum(p.numel() for p in parameters)).to(value)
    parts = torch.autograd.grad(
        value, parameters, retain_graph=True, allow_unused=True
    )
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten().float()
            for p, g in zip(parameters, parts)
        ]
    )


def gradients(model: nn.Module) -> Dict[str, Optional[Tensor]]:
    """Gradient of each parameter, or None."""
    return {
        name: None if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }


def buffers(model: nn.Module) -> Dict[str, Tensor]:
    """What a model keeps beside its parameters."""
    return {name: b.clone() for name, b in model.named_buffers()}


def equal(first: Plain, second: Plain) -> bool:
    """Whether two steps are the same to the bit."""
    return all(
        _equal(getattr(first, part), getattr(second, part))
        for part in ('losses', 'gradients', 'buffers')
    )


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return list(first) == list(second) and all(
            _equal(first[k], second[k]) for k in first
        )
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.equal(second)
    return first is None and second is None


def not_finite(
    losses: Dict[str, Any],
    trained: Sequence[Tuple[str, nn.Parameter]],
    batch: Optional[DistillBatch],
) -> List[str]:
    """Names of what holds a value that is not finite."""
    found = []
    for name, value in losses.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if not all(x.isfinite().all() for x in values):
            found.append(name)
    if batch is not None:
        for role in ('student', 'teacher'):
            if not getattr(batch.logits, role).isfinite().all():
                found.append(f'logits of the {role}')
    found += [
        f'gradient of {n}'
        for n, p in trained
        if p.grad is not None and not p.grad.isfinite().all()
    ]
    return found


def clock(model: nn.Module) -> float:
    """Seconds, after what a GPU has to do is done."""
    if next(model.parameters()).is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def peak(model: nn.Module) -> Optional[int]:
    """Peak bytes of the GPU since the last call; None on a CPU."""
    if not next(model.parameters()).is_cuda:
        return None
    found = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return found


@contextmanager
def within(
    owner: object, method: str, context: Callable[[], ContextManager[None]]
) -> Iterator[None]:
    """Have each call of a method made in a context of its own."""
    original = getattr(owner, method)

    def called(*args: Any, **kwargs: Any) -> Any:
        with context():
            return original(*args, **kwargs)

    with replacing(owner, method, called):
        yield


@contextmanager
def timed(name: str, model: nn.Module, found: Step) -> Iterator[None]:
    """Add the time that the context takes."""
    start = clock(model)
    yield
    past = found.seconds.get(name, 0.0)
    found.seconds[name] = past + clock(model) - start
