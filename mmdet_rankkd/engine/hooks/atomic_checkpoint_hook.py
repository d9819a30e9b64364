"""Checkpoints that are there as a whole or not at all."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set

from mmengine.dist import is_main_process
from mmengine.fileio.backends import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmdet_rankkd.checkpoint.write import write_whole
from mmdet_rankkd.registry import HOOKS

#: Name of the file backend, for ``backend_args``.
BACKEND = 'mmdet_rankkd.whole'
#: Under this key MMEngine's message hub keeps the names of checkpoints that
#: newer ones replace.
REPLACED = 'replaced_checkpoints'


class WholeFileBackend(LocalBackend):
    """Files of this machine, each written as a whole or not at all."""

    def put(self, obj: bytes, filepath: Any) -> None:
        """Write a file; see :func:`write_whole`."""
        write_whole(filepath, obj)


register_backend(BACKEND, WholeFileBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, with which a kill loses no checkpoint.

    That one writes a file in place, and removes the checkpoints that it
    replaces before: killed in between, with ``max_keep_ckpts=1`` a training
    is left without any. Here a checkpoint is written beside, synced and moved
    into place, and what it replaces, an older or a less good one, is removed
    only then. On a full disk the training stops with an error that says so,
    and the older checkpoint is as it was. ``rankkd train`` and the sweeps
    put it in the place of ``CheckpointHook``; elsewhere a config names it,
    with the same arguments::

        default_hooks = dict(
            checkpoint=dict(type='mmdet_rankkd.AtomicCheckpointHook'))

    Where ``backend_args`` or ``file_client_args`` are given, or ``out_dir``
    is an address, the file is written by that backend; what it replaces is
    removed behind it all the same.
    """

    backend_args: Optional[dict]
    file_backend: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        elsewhere = '://' in str(self.out_dir or '')
        if not (self.backend_args or self.file_client_args or elsewhere):
            self.backend_args = dict(backend=BACKEND)

    def before_train(self, runner: Runner) -> None:
        """Also remove what was replaced when the training was killed."""
        super().before_train(runner)
        hub = runner.message_hub
        names = hub.runtime_info.get(REPLACED, [])
        hub.update_info(REPLACED, [])
        if is_main_process():
            for name in set(names) - self._kept(runner):
                path = self.file_backend.join_path(self.out_dir, name)
                remove(self.file_backend, path)

    def _kept(self, runner: Runner) -> Set[str]:
        """Names of the newest checkpoint and of the best ones."""
        paths = [
            runner.message_hub.runtime_info.get('last_ckpt'),
            getattr(self, 'best_ckpt_path', None),
            *getattr(self, 'best_ckpt_path_dict', {}).values(),
        ]
        return {Path(path).name for path in paths if path}

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: Dict[str, Any]
    ) -> None:
        with self._removing_afterwards(runner):
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(
        self, runner: Runner, metrics: Dict[str, float]
    ) -> None:
        with self._removing_afterwards(runner):
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_afterwards(self, runner: Runner) -> Iterator[None]:
        """Let what is removed in the context be removed at its end."""
        backend = self.file_backend
        if isinstance(backend, RemovingLater):  # inside the other one
            yield
            return
        self.file_backend = later = RemovingLater(backend, runner)
        runner.message_hub.update_info(REPLACED, [])
        try:
            yield
        finally:
            self.file_backend = backend
        for path in later.paths:
            if Path(path).name not in self._kept(runner):
                remove(backend, path)


class RemovingLater:
    """A file backend that notes what it should remove.

    Args:
        backend (Any): Backend of MMEngine, for everything else.
        runner (Runner): Whose message hub gets the names.

    Attributes:
        paths (list): What to remove.
    """

    def __init__(self, backend: Any, runner: Runner) -> None:
        self.backend = backend
        self.hub = runner.message_hub
        self.paths: List[str] = []

    def remove(self, path: str) -> None:
        """Note it."""
        self.paths.append(path)
        names = [Path(x).name for x in self.paths]
        self.hub.update_info(REPLACED, names)

    rmtree = remove

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


def remove(backend: Any, path: str) -> None:
    """Remove a checkpoint, which DeepSpeed writes as a folder."""
    if backend.isfile(path):
        backend.remove(path)
    elif backend.isdir(path):
        backend.rmtree(path)
