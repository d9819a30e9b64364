"""Weights of distillation terms, by the gradients that they give."""

import copy
import math
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Union

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor, nn

from mmdet_rankkd.datasets.box_pixels import kept_random_state
from mmdet_rankkd.distillers.base import BaseDistiller
from mmdet_rankkd.engine.doctor.step import gradient_of, shared_parameters
from mmdet_rankkd.registry import HOOKS

from .tau_hook import unwrapped

#: Under this key MMEngine's message hub keeps what was measured.
KEY = 'balance'


@HOOKS.register_module()
class BalanceHook(Hook):
    r"""Weigh distillation terms by their gradients at the shared layers.

    With :math:`g` the gradient of the sum of the student's own losses at
    backbone and neck, and :math:`g_i` that of a distillation term of weight
    1, the term's ``loss_weight`` becomes

    .. math::
        w_i = r_i \exp\Big(\operatorname{mean}\log
              \frac{\lVert g \rVert}{\lVert g_i \rVert}\Big),

    so that its gradient has about :math:`r_i` of the norm of the student's
    own. The mean is over the first ``steps`` iterations, after which weights
    stay; with ``interval``, one iteration in so many is measured to the end,
    and the mean forgets with ``momentum``. It is the one-way part of GradNorm
    (Chen et al., ICML 2018): norms are equalised to fixed ratios, not to
    learning rates of the terms. A schedule of a loss goes on beside it::

        custom_hooks = [dict(type='mmdet_rankkd.BalanceHook', ratios=0.5)]

    Measuring an iteration costs a pass forward and one back for each term,
    and changes neither weights, buffers, gradients nor random numbers. The
    weights are logged as ``weight_<name>``, kept in checkpoints and resumed.
    Over several processes, norms are averaged.

    Args:
        ratios (float or dict): The :math:`r_i`, positive, for all terms or by
            their ``loss_name``; a term that is not named keeps its weight.
        steps (int): Iterations that are measured at the start.
        interval (int, optional): Iterations between two measurements after
            them; None for none.
        momentum (float): Part of the mean that a later measurement keeps, in
            [0, 1).

    Raises:
        ValueError: If a setting is out of range; before training, if a name
            is not that of a distillation term.
        TypeError: Before training, if the model is no distiller.
    """

    # Before what counts and logs the iteration.
    priority = 'VERY_HIGH'

    def __init__(
        self,
        ratios: Union[float, Dict[str, float]] = 0.5,
        steps: int = 10,
        interval: Optional[int] = None,
        momentum: float = 0.9,
    ) -> None:
        given = ratios.values() if isinstance(ratios, dict) else [ratios]
        if not given or not all(0 < x < math.inf for x in given):
            raise ValueError(
                f'BalanceHook: ratios must be positive, got {ratios}'
            )
        if steps < 1 or (interval is not None and interval < 1):
            raise ValueError(
                'BalanceHook: steps and interval must be positive, got '
                f'{steps} and {interval}'
            )
        if not 0 <= momentum < 1:
            raise ValueError(
                f'BalanceHook: momentum must be in [0, 1), got {momentum}'
            )
        self.ratios = ratios
        self.steps = steps
        self.interval = interval
        self.momentum = momentum
        self.means: Dict[str, List[float]] = {}

    def before_train(self, runner: Runner) -> None:
        """Check the names; take up what an earlier part measured."""
        model = unwrapped(runner.model)
        if not isinstance(model, BaseDistiller):
            raise TypeError(
                'BalanceHook weighs the terms of a DistillDetector or '
                f'DistillClassifier, not of a {type(model).__name__}. Remove '
                'it from custom_hooks of a plain training'
            )
        if isinstance(self.ratios, dict):
            unknown = sorted(set(self.ratios) - set(model.losses))
            if unknown:
                raise ValueError(
                    f'BalanceHook: there are no terms {unknown}; there are '
                    + ', '.join(model.losses)
                )
        known = runner.message_hub.runtime_info.get(KEY) if runner.iter else {}
        self.means = copy.deepcopy(known or {})
        self._set_weights(runner, model)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Measure, if it is time, before the step is made."""
        model: Any = unwrapped(runner.model)
        done = runner.iter
        more = self.interval is not None and done % self.interval == 0
        if done >= self.steps and not more:
            return
        with runner.optim_wrapper.optim_context(runner.model):
            norms = measure(model, data_batch)
        self.note(model, norms, done)
        runner.message_hub.update_info(KEY, copy.deepcopy(self.means))
        self._set_weights(runner, model)
        if done + 1 == self.steps:
            said = ', '.join(
                f'{name} {model.losses[name].loss_weight:.3g}'
                for name in self.means
            )
            print_log(f'BalanceHook: weights are now {said}', 'current')

    def note(
        self, model: BaseDistiller, norms: Dict[str, float], done: int
    ) -> None:
        """Take measured norms into the means of the log of their quotient.

        A batch where a term or the student has no gradient tells nothing.
        """
        own = norms.pop('student')
        for name, norm in norms.items():
            if not (own > 0 and norm > 0) or self._ratio(name) is None:
                continue
            loss = model.losses[name]
            value = math.log(own * loss.current_weight / norm)
            mean, count = self.means.get(name, [0.0, 0])
            keep = self.momentum if done >= self.steps else count / (count + 1)
            if not count:
                keep = 0.0
            self.means[name] = [keep * mean + (1 - keep) * value, count + 1]

    def _ratio(self, name: str) -> Optional[float]:
        if isinstance(self.ratios, dict):
            return self.ratios.get(name)
        return self.ratios

    def _set_weights(self, runner: Runner, model: BaseDistiller) -> None:
        for name, (mean, _) in self.means.items():
            loss = model.losses[name]
            ratio = self._ratio(name)
            if ratio is not None:
                loss.loss_weight = ratio * math.exp(mean)
            runner.message_hub.update_scalar(
                f'train/weight_{name}', loss.loss_weight
            )


def measure(model: BaseDistiller, data: Any) -> Dict[str, float]:
    """Gradient norms at the shared layers of the terms that count now.

    Args:
        model (BaseDistiller): Model in its training mode; left as it was.
        data (dict): A batch of the training loader.

    Returns:
        dict: By the name of the term, with its weight in it, and under
        ``'student'`` that of the student's own losses.
    """
    with untouched(model):
        inputs = model.data_preprocessor(copy.deepcopy(data), True)
        losses = model(**inputs, mode='loss')
        active = model.active_losses()
        own = {k: v for k, v in losses.items() if k not in model.losses}
        terms = {k: v for k, v in losses.items() if k in active}
        values = {'student': model.parse_losses(own)[0], **terms}
        shared = shared_parameters(model.student)
        norms = torch.stack(
            [gradient_of(x, shared).double().norm() for x in values.values()]
        )
    all_reduce(norms, 'mean')
    return dict(zip(values, norms.tolist()))


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put buffers and random numbers back at the end."""
    kept: Dict[str, Tensor] = {n: b.clone() for n, b in model.named_buffers()}
    try:
        with kept_random_state(), torch.random.fork_rng():  # of GPUs too
            yield
    finally:
        for name, buffer in model.named_buffers():
            if name in kept:
                buffer.data.copy_(kept[name])
