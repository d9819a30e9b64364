"""Resumed trainings that end as if they had never been stopped."""

import logging
import random
from functools import partial
from itertools import chain, repeat
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.utils.data import DataLoader, IterableDataset

from mmdet_rankkd.compat import replace_batch_sampler
from mmdet_rankkd.registry import HOOKS

from .tau_hook import unwrapped

KEY = 'exact_resume'


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Resume a training exactly, also in the middle of an epoch.

    MMEngine restores weights, optimizer, schedules and EMA, but neither the
    random numbers nor the place in the data. With this hook, a training that
    was stopped at any checkpoint and resumed ends with the same weights, to
    the last bit where the device computes deterministically, as one that was
    not. It needs no distiller, and has to be there from the start::

        custom_hooks = [dict(type='mmdet_rankkd.ExactResumeHook')]

    Under ``exact_resume`` the checkpoint holds plain tensors and numbers: the
    states of the generators of Python, NumPy and torch (CPU and current GPU)
    of each process, the place in the data, and gradients that wait for their
    step in the middle of an accumulation. Batches seen before are skipped by
    their indices, so that no image is read for nothing.

    Two things differ from a training without the hook. Validation draws no
    random numbers from those of the training. With ``num_workers`` above 0,
    the random numbers of each batch follow from the seed and the number of
    the iteration, whichever worker makes it. A validation that was due at the
    checkpoint is done first, so that the best values are right too.

    Not restored are transforms that keep generators or earlier images of
    their own (``CachedMosaic``, ``CachedMixUp``). Neither are gradients in
    the middle of an accumulation over several processes, the place in data
    that are not read by batches of indices, and anything where the number of
    processes is another: these are said in the log.
    """

    # After what changes the training's state, before CheckpointHook.
    priority = 'LOW'

    def __init__(self) -> None:
        self._saved: Optional[dict] = None
        self._batches: Optional[PlacedBatches] = None
        self._gathered: Optional[List[dict]] = None
        self._before_val: Optional[List[dict]] = None
        self._validation_is_due = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep what the checkpoint has for this hook."""
        self._saved = checkpoint.get(KEY)

    def before_train(self, runner: Runner) -> None:
        """Watch the place in the data; restore, if this is resumed."""
        loader, loop = runner.train_dataloader, runner.train_loop
        saved = self._usable(runner)
        seed = int(runner.seed if saved is None else saved['seed'])
        self._batches = None
        if loader.batch_sampler is None or isinstance(
            loader.dataset, IterableDataset
        ):
            warn('the training set is not read by batches of indices')
        else:
            self._batches = PlacedBatches(loader, runner, seed)
            replace_batch_sampler(loader, self._batches)
        self._saved = saved
        if saved is None:
            return
        sampler = sampler_of(loader)
        if saved['sampler_seed'] is not None:
            sampler.seed = saved['sampler_seed']
        parameters = dict(unwrapped(runner.model).named_parameters())
        for name, gradient in saved['gradients'].items():
            parameter = parameters[name]
            parameter.grad = gradient.to(parameter.device)
        self._validation_is_due = not saved['validated'] and is_due(
            runner, loop.iter if feed_of(runner) else loop.epoch
        )
        if saved['place'] and feed_of(runner) is None:
            self._validation_is_due = False  # the loop comes to it
        set_random_state(saved['random'][get_rank()])

    def _usable(self, runner: Runner) -> Optional[dict]:
        """What was saved, unless it cannot be for this training."""
        if not runner.iter:
            return None
        if self._saved is None:
            warn('the checkpoint was written without this hook')
            return None
        count = len(self._saved['random'])
        if count != get_world_size():
            warn(
                f'the checkpoint has the state of {count} processes, and '
                f'there are {get_world_size()}'
            )
            return None
        return self._saved

    def before_train_epoch(self, runner: Runner) -> None:
        """Go to the place in the data."""
        saved, self._saved = self._saved, None
        feed = feed_of(runner)
        loader = runner.train_dataloader
        if saved is not None:
            self._validate(runner)
            place = saved['place']
            if feed is not None:
                feed._epoch = saved['turn']
                sampler = sampler_of(loader)
                if hasattr(sampler, 'set_epoch'):
                    sampler.set_epoch(saved['turn'])
            if self._batches is not None and (
                place or loader.persistent_workers
            ):
                # The seed of the workers is drawn once more.
                state = random_state()
                if place:
                    state = saved['random'][get_rank()]
                self._batches.go_to(place, partial(set_random_state, state))
        if feed is not None and self._batches is not None:
            restart(feed, loader, runner.iter)

    def after_train_iter(self, runner: Runner, *args: Any, **kw: Any) -> None:
        """Gather the states of the other processes for the checkpoint."""
        if get_world_size() > 1:
            self._gathered = None
            if any(saves_now(x, runner) for x in runner.hooks):
                self._gathered = all_gather_object(random_state())

    def after_train_epoch(self, runner: Runner) -> None:
        """Gather the states of the other processes for the checkpoint."""
        if get_world_size() > 1:
            self._gathered = all_gather_object(random_state())

    def before_val(self, runner: Runner) -> None:
        """Note the random numbers of the training."""
        self._before_val = [random_state()]
        if get_world_size() > 1:
            self._before_val = all_gather_object(self._before_val[0])

    def after_val(self, runner: Runner) -> None:
        """Go on with the random numbers of the training."""
        if self._before_val is not None:
            set_random_state(self._before_val[get_rank()])
        self._before_val = None

    def after_train(self, runner: Runner) -> None:
        """Validate, if it was stopped between the last step and that."""
        self._validate(runner)

    def _validate(self, runner: Runner) -> None:
        if self._validation_is_due:
            self._validation_is_due = False
            runner.val_loop.run()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state, where the checkpoint is one to resume from."""
        if 'optimizer' not in checkpoint or self._batches is None:
            return
        states = self._before_val or self._gathered or [random_state()]
        gradients = {
            name: parameter.grad.detach().cpu()
            for name, parameter in unwrapped(runner.model).named_parameters()
            if parameter.grad is not None
        }
        if gradients and get_world_size() > 1:
            warn(
                'the checkpoint is in the middle of an accumulation of '
                'gradients; let its interval be a multiple of '
                'accumulative_counts'
            )
            gradients = {}
        meta = checkpoint['meta']
        place = meta['iter'] - self._batches.start
        feed = feed_of(runner)
        if feed is None and meta['epoch'] != self._batches.epoch:
            place = 0
        checkpoint[KEY] = dict(
            random=states,
            place=place,
            turn=0 if feed is None else feed._epoch,
            seed=self._batches.seed,
            sampler_seed=getattr(
                sampler_of(runner.train_dataloader), 'seed', None
            ),
            gradients=gradients,
            validated=self._before_val is not None,
        )


class PlacedBatches:
    """A batch sampler that knows its place and can start from one.

    Args:
        loader (DataLoader): Whose batch sampler it stands for.
        runner (Runner): Runner of the training.
        seed (int): Seed of the random numbers of the workers.

    Attributes:
        start (int): Iteration at which the pass over the data began.
        epoch (int): Epoch at that time.
    """

    def __init__(self, loader: DataLoader, runner: Runner, seed: int) -> None:
        self.batches: Any = loader.batch_sampler
        self.runner = runner
        self.seed = seed
        self.start, self.epoch = runner.iter, runner.epoch
        self._skip = 0
        self._arrive: Optional[Callable] = None
        self._in_workers = loader.num_workers > 0
        if self._in_workers:
            dataset: Any = loader.dataset
            inner = getattr(dataset, '__getitems__', None)
            dataset.__getitems__ = partial(seeded_items, dataset, inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)

    def __len__(self) -> int:
        return len(self.batches)

    def go_to(self, place: int, arrive: Callable) -> None:
        """Leave out the first batches of the next pass.

        Args:
            place (int): How many.
            arrive (callable): Called when they are left out.
        """
        self._skip, self._arrive = place, arrive

    def __iter__(self) -> Iterator[List[int]]:
        skip, self._skip = self._skip, 0
        self.start = self.runner.iter - skip
        self.epoch = self.runner.epoch
        batches = iter(self.batches)
        for _ in range(skip):
            next(batches)
        if self._arrive is not None:
            self._arrive()
            self._arrive = None
        for number, indices in enumerate(batches, self.start + skip):
            if self._in_workers:
                yield SeededIndices(indices, [self.seed, get_rank(), number])
            else:
                yield indices


class SeededIndices(List[int]):
    """Indices of a batch, with the seed of its random numbers."""

    def __init__(self, indices: Iterable[int], seed: List[int]) -> None:
        super().__init__(indices)
        self.seed = seed


def seeded_items(
    dataset: Any, inner: Optional[Callable], indices: SeededIndices
) -> list:
    """Samples of a data set, with the random numbers of their batch."""
    words = np.random.SeedSequence(indices.seed).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.manual_seed(int(words[2]))
    if inner is not None:
        return inner(indices)
    return [dataset[index] for index in indices]


def restart(feed: Any, loader: DataLoader, done: int) -> None:
    """Let a loop over iterations take its batches from a new iterator.

    Args:
        feed (object): Its endless iterator.
        loader (DataLoader): What it iterates over.
        done (int): Iterations that the loop is about to skip by itself.
    """
    if hasattr(feed, 'skip_iter'):
        feed.skip_iter = lambda count: None
        return
    # MMEngine 0.10.7 has begun with the data and asks for each batch.
    begin_anew(sampler_of(loader))
    loader._iterator = None
    feed._iterator = chain(repeat(None, done), iter(loader))


def begin_anew(sampler: Any) -> None:
    """Take back what was drawn from an endless sampler."""
    if hasattr(sampler, 'indices'):  # InfiniteSampler
        sampler.indices = sampler._indices_of_rank()
    elif type(sampler).__name__ == 'MultiSourceSampler':  # of MMDetection
        sampler.source2inds = {
            source: sampler._indices_of_rank(len(dataset))
            for source, dataset in enumerate(sampler.dataset.datasets)
        }
    elif hasattr(sampler, '_indices_of_rank'):
        warn(f'{type(sampler).__name__} cannot begin anew')


def feed_of(runner: Runner) -> Any:
    """The endless iterator of a loop over iterations, or None."""
    return getattr(runner.train_loop, 'dataloader_iterator', None)


def sampler_of(loader: DataLoader) -> Any:
    """The sampler, also inside a batch sampler that a config names."""
    if hasattr(loader.sampler, 'set_epoch'):
        return loader.sampler
    return getattr(loader.batch_sampler, 'sampler', None)


def is_due(runner: Runner, done: int) -> bool:
    """Whether the loop validates after so many epochs or iterations."""
    loop: Any = runner.train_loop
    if runner.val_loop is None:
        return False
    loop._decide_current_val_interval()
    last = loop.max_epochs if feed_of(runner) is None else loop.max_iters
    return done >= loop.val_begin and (
        done % loop.val_interval == 0 or done == last
    )


def saves_now(hook: Hook, runner: Runner) -> bool:
    """Whether it is a hook that saves a checkpoint after this iteration."""
    if not isinstance(hook, CheckpointHook) or hook.by_epoch:
        return False
    return hook.every_n_train_iters(
        runner, hook.interval, hook.save_begin
    ) or (hook.save_last and hook.is_last_train_iter(runner))


def random_state() -> Dict[str, Any]:
    """States of the generators of this process, as tensors and numbers."""
    version, words, normal = random.getstate()
    kind, keys, position, has_normal, cached = np.random.get_state()
    state = dict(
        python=[version, list(words), normal],
        numpy=[
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_normal),
            float(cached),
        ],
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Dict[str, Any]) -> None:
    """Restore what :func:`random_state` returned."""
    version, words, normal = state['python']
    random.setstate((version, tuple(words), normal))
    kind, keys, *rest = state['numpy']
    keys = keys.cpu().numpy().astype(np.uint32)
    np.random.set_state((kind, keys, *rest))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def warn(fact: str) -> None:
    """Say in the log that a training cannot be resumed exactly."""
    print_log(
        f'ExactResumeHook: {fact}; resuming is not exact',
        'current',
        logging.WARNING,
    )
