"""Trainings whose loss is not finite stop, and say where."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor, nn

from mmdet_rankkd.registry import HOOKS

from .tau_hook import unwrapped

#: Facts of an image that name it, the first of them that it has.
NAMES = ('img_path', 'img_id', 'sample_idx')
#: Steps between two looks where the training has no LoggerHook.
INTERVAL = 50
#: Under this key MMEngine's message hub keeps how many steps were left out.
SKIPPED = 'skipped_steps'


@dataclass(frozen=True)
class Step:
    """An iteration that has not been looked at yet.

    Attributes:
        iteration (int): Iteration from 1, as in the log.
        epoch (int): Epoch from 1.
        losses (dict): What is back-propagated, by name; on their device.
        images (list): Facts of the images of the batch.
    """

    iteration: int
    epoch: int
    losses: Dict[str, Tensor]
    images: List[dict]


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stop a training when a loss is NaN or infinite, and say where.

    The error names the terms, the iteration and the images, and a JSON file
    in the work folder with the state to look at: losses of the steps before,
    facts of the images, learning rate, and of each parameter its norm, its
    norm at the last look, and how many of its values are not finite. No file
    is overwritten, and no checkpoint is written of weights that are not
    finite. It needs no distiller. ``rankkd train`` and the sweeps add it to
    every training; elsewhere a config names it::

        default_hooks = dict(finite=dict(type='mmdet_rankkd.NonFiniteHook'))

    On the CPU each iteration is looked at. On another device that would make
    the processor wait for it in each step, so that they are looked at
    together: every ``interval`` iterations, at the end of an epoch, and
    before a checkpoint is written. Nothing of the training is changed.

    Args:
        interval (int, optional): Iterations between two looks; by default
            those between two lines of the log.
        skip (int): Steps of the optimizer that may be left out in the whole
            training because a gradient is not finite, before it stops. They
            are counted in ``skipped_steps`` of the message hub, which is
            resumed, and each is said in the log. To know it, each step waits
            for the device then. What a forward pass changes by itself, such
            as running means, is not taken back; the training stops if one of
            them is not finite.

    Raises:
        FloatingPointError: While training, as said above.
        ValueError: If ``interval`` is not positive or ``skip`` negative.
    """

    # Behind LoggerHook, before CheckpointHook.
    priority = 'LOW'

    def __init__(self, interval: Optional[int] = None, skip: int = 0) -> None:
        if interval is not None and interval < 1:
            raise ValueError(
                f'NonFiniteHook: interval must be positive, got {interval}'
            )
        if skip < 0:
            raise ValueError(
                f'NonFiniteHook: skip must not be negative, got {skip}'
            )
        self.interval = interval
        self.skip = skip
        self._every = interval or INTERVAL
        self._steps: List[Step] = []
        self._norms: Tuple[int, Dict[str, Tensor]] = (0, {})
        self._guard: Optional[StepGuard] = None

    def before_train(self, runner: Runner) -> None:
        """Note the interval, and guard the optimizer if steps may be skipped.

        Raises:
            TypeError: If steps may be skipped, and the optimizer wrapper has
                several optimizers.
        """
        if self.interval is None:
            loggers = [x for x in runner.hooks if isinstance(x, LoggerHook)]
            self._every = min((x.interval for x in loggers), default=INTERVAL)
        self._steps, self._norms = [], (0, {})
        if self.skip:
            self._guard = StepGuard(runner.optim_wrapper)

    def after_train(self, runner: Runner) -> None:
        """Leave the optimizer as it was."""
        self.look(runner)
        if self._guard is not None:
            self._guard.remove()
            self._guard = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Keep the losses, and look at them if it is time."""
        losses = {
            name: value.detach()
            for name, value in (outputs or {}).items()
            if 'loss' in name and isinstance(value, Tensor)
        }
        iteration, epoch = runner.iter + 1, runner.epoch + 1
        facts = facts_of(data_batch)
        self._steps.append(Step(iteration, epoch, losses, facts))
        if self._guard is not None and not self._ask(self._guard, runner):
            return
        on_cpu = all(x.device.type == 'cpu' for x in losses.values())
        if on_cpu or iteration % self._every == 0:
            self.look(runner)
        if iteration % self._every == 0:
            self._norms = (iteration, norms_of(unwrapped(runner.model)))

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at what is left, before a validation."""
        if self._guard is None or not self._guard.waits:
            self.look(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Let no checkpoint be written of weights that are not finite."""
        if self._guard is None or not self._guard.waits:
            self.look(runner)
        broken = [
            name
            for name, value in checkpoint['state_dict'].items()
            if isinstance(value, Tensor)
            and value.is_floating_point()
            and not value.isfinite().all()
        ]
        if broken:
            self._stop(
                runner,
                f'{len(broken)} weights are not finite ({few(broken)}), while '
                'the losses are: a gradient was not',
                [],
            )

    def _ask(self, guard: 'StepGuard', runner: Runner) -> bool:
        """Whether there is something to look at: a step was taken."""
        if guard.waits:
            return False
        guard.waits = True
        if not guard.was_skipped:
            return True
        if guard.scales and not any_non_finite(self._steps):
            return True
        count = int(runner.message_hub.runtime_info.get(SKIPPED, 0)) + 1
        runner.message_hub.update_info(SKIPPED, count)
        last = self._steps[-1]
        if count > self.skip:
            self._stop(
                runner,
                f'{count} steps of the optimizer would have been left out, as '
                f'a gradient was not finite, and skip={self.skip}. The last: '
                + said_of(non_finite(self._steps), last),
                self._steps,
            )
        running = [
            name
            for name, value in unwrapped(runner.model).named_buffers()
            if value.is_floating_point() and not value.isfinite().all()
        ]
        if running:
            self._stop(
                runner,
                f'the step of iteration {last.iteration} was left out, as a '
                'gradient was not finite, but its forward pass has changed '
                f'{few(running)}, which cannot be taken back',
                self._steps,
            )
        print_log(
            f'NonFiniteHook: the step of iteration {last.iteration} is left '
            f'out, as a gradient is not finite ({count} so far, {self.skip} '
            f'allowed). {said_of(non_finite(self._steps), last)}',
            'current',
            logging.WARNING,
        )
        self._steps = []
        return False

    def look(self, runner: Runner) -> None:
        """Raise an error at the first step with a loss that is not finite."""
        steps, self._steps = self._steps, []
        if not any_non_finite(steps):
            return
        for index, step in enumerate(steps):
            terms = non_finite([step])
            if terms:
                self._stop(runner, said_of(terms, step), steps[: index + 1])

    def _stop(self, runner: Runner, fact: str, steps: List[Step]) -> None:
        file = new_name(Path(runner.work_dir), runner.iter + 1)
        state = describe(runner, fact, steps, self._norms)
        with file.open('x') as opened:
            json.dump(state, opened, indent=1)
        raise FloatingPointError(
            f'{fact}. The state to look at is in {file}. Try a lower learning '
            'rate, gradient clipping (optim_wrapper.clip_grad) or a lower '
            'weight of that loss, and go on from the newest checkpoint'
        )


class StepGuard:
    """Lets an optimizer wrapper leave out steps of non-finite gradients.

    Where gradients are scaled, as in float16, MMEngine's wrapper leaves out
    such steps by itself and lowers the scale then. That is as it should be
    while the losses are finite.

    Args:
        wrapper (OptimWrapper): Its ``step`` is replaced.

    Attributes:
        waits (bool): Whether no step has been taken since it was asked.
        was_skipped (bool): Whether the last one was left out.
        scales (bool): Whether gradients are scaled.
    """

    def __init__(self, wrapper: Any) -> None:
        if not hasattr(wrapper, 'optimizer'):
            raise TypeError(
                'NonFiniteHook: steps can be skipped of one optimizer only; '
                f'{type(wrapper).__name__} has several. Set skip=0'
            )
        self.wrapper = wrapper
        self.waits = True
        self.was_skipped = False
        self.scales = hasattr(wrapper, 'loss_scaler')
        self._step: Callable[..., None] = wrapper.step
        wrapper.step = self.step

    def step(self, **kwargs: Any) -> None:
        """Take the step if all gradients are finite."""
        gradients = [
            p.grad
            for group in self.wrapper.optimizer.param_groups
            for p in group['params']
            if p.grad is not None
        ]
        # A sum of squares would overflow where no gradient does.
        largest = [g.detach().abs().amax() for g in gradients if g.numel()]
        finite = all(math.isfinite(x) for x in on_cpu(largest))
        self.waits, self.was_skipped = False, not finite
        if finite or self.scales:
            self._step(**kwargs)

    def remove(self) -> None:
        """Leave the wrapper as it was."""
        del self.wrapper.step


def on_cpu(values: List[Tensor]) -> List[float]:
    """Scalars as numbers, for each device in one piece."""
    found: List[float] = [0.0] * len(values)
    for device in {x.device for x in values}:
        places = [i for i, x in enumerate(values) if x.device == device]
        moved = torch.stack([values[i].double() for i in places]).tolist()
        for place, value in zip(places, moved):
            found[place] = value
    return found


def any_non_finite(steps: List[Step]) -> bool:
    """Whether some loss is not finite; the device is waited for once."""
    values = [x.mean() for step in steps for x in step.losses.values()]
    return not all(math.isfinite(x) for x in on_cpu(values))


def non_finite(steps: List[Step]) -> Dict[str, float]:
    """Losses that are not finite, by name; the sum of all comes last."""
    found = {
        name: float(value.mean())
        for step in steps
        for name, value in step.losses.items()
    }
    names = sorted(found, key=lambda name: name == 'loss')
    return {n: found[n] for n in names if not math.isfinite(found[n])}


def facts_of(batch: Any) -> List[dict]:
    """Facts of each image of a batch, as far as its samples have any."""
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if isinstance(samples, dict):  # of several branches
        samples = [x for part in samples.values() for x in part]
    if not isinstance(samples, (list, tuple)):
        return []
    return [dict(getattr(x, 'metainfo', {})) for x in samples]


def name_of(facts: dict) -> str:
    """What an image is called."""
    for key in NAMES:
        if key in facts:
            return f'{key} {facts[key]}'
    return 'an image without a name'


def few(names: List[str], count: int = 3) -> str:
    """The first of some names."""
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(names[:count]) + more


def said_of(terms: Dict[str, float], step: Step) -> str:
    """Terms, iteration and images in one sentence, without its stop."""
    names = [f'{name} is {value}' for name, value in terms.items()]
    images = [name_of(facts) for facts in step.images]
    rank = f' of process {get_rank()}' if get_world_size() > 1 else ''
    return (
        f'{few(names, 8) or "no loss is, though a gradient is, not finite"} '
        f'at iteration {step.iteration} (epoch {step.epoch}){rank}; its '
        f'images are {few(images, 16) or "not known"}'
    )


def norms_of(model: nn.Module) -> Dict[str, Tensor]:
    """Norm of each parameter, on its device."""
    with torch.no_grad():
        return {
            name: torch.linalg.vector_norm(p.detach().float())
            for name, p in model.named_parameters()
        }


def describe(
    runner: Runner,
    fact: str,
    steps: List[Step],
    before: Tuple[int, Dict[str, Tensor]],
) -> dict:
    """The state to look at, as JSON has it."""
    model = unwrapped(runner.model)
    norms = norms_of(model)
    rates: dict = getattr(runner.optim_wrapper, 'get_lr', dict)()
    return dict(
        problem=fact,
        iteration=steps[-1].iteration if steps else runner.iter,
        learning_rate=plain(rates),
        losses=[
            dict(
                iteration=step.iteration,
                **{k: plain(float(v.mean())) for k, v in step.losses.items()},
            )
            for step in steps
        ],
        images=[plain(facts) for facts in (steps[-1].images if steps else [])],
        norms_before_are_of_iteration=before[0] or None,
        parameters=[
            dict(
                name=name,
                shape=list(parameter.shape),
                norm=plain(float(norms[name])),
                norm_before=plain(float(before[1][name]))
                if name in before[1]
                else None,
                non_finite=int((~parameter.isfinite()).sum()),
            )
            for name, parameter in model.named_parameters()
        ],
    )


def plain(value: Any) -> Any:
    """Of numbers, texts and lists; JSON has neither NaN nor infinities."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def new_name(folder: Path, iteration: int) -> Path:
    """Name of a file that is not there yet."""
    rank = f'-rank{get_rank()}' if get_world_size() > 1 else ''
    name = f'non_finite-iter{iteration}{rank}'
    number = 1
    file = folder / f'{name}.json'
    while file.exists():
        number += 1
        file = folder / f'{name}-{number}.json'
    return file
