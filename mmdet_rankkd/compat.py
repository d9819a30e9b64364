"""What it takes to live with several versions of the stack."""

import importlib
import importlib.util
import inspect
import os
import sys
import warnings
from functools import wraps
from importlib import metadata
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import mmengine.logging
import numpy as np
from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.utils import digit_version

#: Tested versions of each module: from (inclusive), to (exclusive).
TESTED: Dict[str, Tuple[str, str]] = {
    'torch': ('2.13.0', '2.14.0'),
    'mmengine': ('0.10.7', '0.10.13'),
    'mmcv': ('2.1.0', '2.3.7'),
    'mmdet': ('3.3.0', '3.5.2'),
}
#: Names under which the modules are installed, where they are others.
DISTRIBUTIONS: Dict[str, Tuple[str, ...]] = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}
#: What of others this package uses that is private or not documented, as
#: ``module:name`` or ``module:class.attribute``, and what needs it. A test
#: asserts that each is there, and that nothing private is used but these.
LEANS_ON: Dict[str, str] = {
    'mmengine.config.utils:MODULE2PACKAGE': 'bases of mmdet_rankkd::',
    'mmengine.config:Config._get_cfg_path': 'bases of mmdet_rankkd::',
    'mmengine.logging:print_log': 'hiding a note on OneDL',
    'mmengine.runner:Runner._resume': 'losses that differ on --resume',
    'mmengine.runner._flexible_runner:FlexibleRunner._resume': (
        'losses that differ on --resume'
    ),
    'mmengine.runner.checkpoint:load_url': (
        'refusing pickled code in checkpoints that the tools download'
    ),
    'mmengine.visualization:Visualizer._instance_dict': (
        "class names of the training set, compared with the teacher's"
    ),
    'mmengine.hooks:CheckpointHook._save_checkpoint_with_step': (
        'AtomicCheckpointHook'
    ),
    'mmengine.hooks:CheckpointHook._save_best_checkpoint': (
        'AtomicCheckpointHook'
    ),
    'mmengine.hooks:CheckpointHook.file_backend': 'AtomicCheckpointHook',
    'mmengine.hooks:LoggerHook.interval': 'NonFiniteHook',
    'mmengine.optim:OptimWrapper.optimizer': 'NonFiniteHook(skip=...)',
    'mmengine.optim:AmpOptimWrapper.loss_scaler': 'NonFiniteHook(skip=...)',
    'mmengine.runner:EpochBasedTrainLoop._decide_current_val_interval': (
        'ExactResumeHook'
    ),
    'mmengine.runner:IterBasedTrainLoop._decide_current_val_interval': (
        'ExactResumeHook'
    ),
    'mmengine.runner:IterBasedTrainLoop.dataloader_iterator': (
        'ExactResumeHook'
    ),
    'mmengine.runner.loops:_InfiniteDataloaderIterator._epoch': (
        'ExactResumeHook'
    ),
    'mmengine.runner.loops:_InfiniteDataloaderIterator._iterator': (
        'ExactResumeHook'
    ),
    'mmengine.dataset:InfiniteSampler._indices_of_rank': 'ExactResumeHook',
    'mmdet.datasets.samplers:MultiSourceSampler._indices_of_rank': (
        'ExactResumeHook'
    ),
    'torch.utils.data:DataLoader._iterator': 'ExactResumeHook',
    'mmengine.model:ImgDataPreprocessor._channel_conversion': (
        'comparing the preprocessing of student and teacher'
    ),
    'mmengine.model:ImgDataPreprocessor._enable_normalize': (
        'comparing the preprocessing of student and teacher'
    ),
    'mmdet.models:StandardRoIHead._bbox_forward': 'RoILogits',
    'mmdet.models:CascadeRoIHead._bbox_forward': 'RoILogits',
    'mmdet.models:BBoxHead.loss_and_target': 'RoILogits',
    'mmdet.models:StandardRoIHead._mask_forward': 'MaskLogits',
    'mmdet.models:CascadeRoIHead._mask_forward': 'MaskLogits',
    'mmdet.models.dense_heads.base_dense_head:BaseDenseHead'
    '._predict_by_feat_single': 'ONNX of dense detectors',
    'mmdet.models.dense_heads.base_dense_head:BaseDenseHead'
    '._bbox_post_process': 'ONNX of dense detectors',
    'torch.nn:Module._apply': 'a teacher that follows the student',
    'torch.nn:Module._load_from_state_dict': 'checkpoints of the student',
    'torch.nn:Module._register_state_dict_hook': 'checkpoints of the student',
    'torch:_check': 'sums over pairs, compiled',
    'torch._dynamo:mark_static': 'sums over pairs, compiled',
    'torch._inductor:list_options': 'sums over pairs, compiled',
}
#: As above, of OneDL's packages only.
LEANS_ON_ONEDL: Dict[str, str] = {
    'mmengine.runner.checkpoint:_safe_torch_load': (
        'refusing pickled code in checkpoints that the tools open'
    ),
}
#: Where NumPy's core is and was before version 2; files name one or the other.
NUMPY_CORES = ('numpy.core', 'numpy._core')


def numpy_multiarray() -> ModuleType:
    """The private module of NumPy that pickled arrays refer to."""
    core = NUMPY_CORES[int(np.__version__.split('.')[0]) > 1]
    return importlib.import_module(f'{core}.multiarray')


def register_package() -> None:
    """Let configs say ``_base_ = 'mmdet_rankkd::...'``.

    MMEngine resolves such names for a fixed list of packages only. What the
    base defines it would then look for in the scope of its package, in which
    MMDetection's types have no names without a prefix; such a base is read
    as one that is given by its path.
    """
    config_utils.MODULE2PACKAGE.setdefault('mmdet_rankkd', 'mmdet_rankkd')
    find = Config._get_cfg_path

    @wraps(find)
    def without_scope(name: str, filename: str) -> Tuple[str, Optional[str]]:
        path, scope = find(name, filename)
        return path, None if scope == 'mmdet_rankkd' else scope

    Config._get_cfg_path = staticmethod(without_scope)


class _Awaited(MetaPathFinder):
    """Calls a function once, after a module was executed."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name = name
        self.action = action
        self.searching = False

    def find_spec(
        self,
        fullname: str,
        path: Optional[Sequence[str]] = None,
        target: Optional[ModuleType] = None,
    ) -> Optional[ModuleSpec]:
        """Find the module as the other finders do."""
        if fullname != self.name or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.searching = False
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            sys.meta_path.remove(self)
            self.action()

        spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec


def when_imported(name: str, action: Callable[[], None]) -> None:
    """Call a function once a module is imported; at once if it is already.

    Args:
        name (str): Name of a module that is in no package.
        action (Callable): Called after the module was executed.
    """
    if name in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _Awaited(name, action))


def version_of(module: str) -> str:
    """Version of a module, if possible without the time to import it.

    It is that of its distribution. A module of none, such as a checkout on
    the path, is imported.

    Raises:
        ImportError: If it is not there.
    """
    for name in DISTRIBUTIONS.get(module, (module,)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return importlib.import_module(module).__version__


def warn_about_versions() -> None:
    """Warn once of modules outside the tested versions; never stop.

    Nothing is imported for it, so that a module which is there and cannot be
    imported is found where it is used first.
    """
    for name, (low, high) in TESTED.items():
        try:
            version = version_of(name)
        except (ImportError, AssertionError) as error:
            warnings.warn(
                f'mmdet_rankkd: {name} does not import ({error})', stacklevel=3
            )
            continue
        if (
            not digit_version(low)
            <= digit_version(version)
            < digit_version(high)
        ):
            warnings.warn(
                f'mmdet_rankkd is tested with {name} >= {low}, < {high}; '
                f'this is {name} {version}. It may well work; if it does '
                'not, the table of tested versions is in the README.',
                stacklevel=3,
            )


def hide_foreign_notes() -> None:
    """Keep the stack from saying what nobody needs to know.

    MMDetection prints, twice and at no log level, that the optional package
    ``onedl`` is not installed; MMEngine 0.10.7 imports ``pkg_resources``,
    which warns each time. Exactly these are hidden, where they come from.
    """
    warnings.filterwarnings(
        'ignore',
        'pkg_resources is deprecated as an API',
        UserWarning,
        r'mmengine\.utils|importlib$',
    )
    if importlib.util.find_spec('onedl') is not None:
        return
    print_log = mmengine.logging.print_log

    @wraps(print_log)
    def without_note(msg: object, *args: Any, **kwargs: Any) -> None:
        if msg != 'Could not import OneDL. Skipping OneDL datasets.':
            print_log(msg, *args, **kwargs)

    mmengine.logging.print_log = without_note


def hide_note_on_faster_coco(cfg: Config) -> None:
    """Keep MMDetection from warning of a package that nobody asked for.

    It warns that ``faster_coco_eval`` is missing whenever its metrics are
    imported. Where the config has that metric, the warning stays.
    """
    evaluators = [cfg.get(f'{x}_evaluator') for x in ('val', 'test')]
    if 'FasterCocoMetric' not in str(evaluators):
        warnings.filterwarnings(
            'ignore', 'faster_coco_eval is not installed', UserWarning
        )


def check_mmcv_ops() -> None:
    """Raise ImportError, with the remedy, if mmcv has no compiled ops."""
    try:
        from mmcv import ops  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'mmcv is installed without its compiled ops ({error}). '
            'mmcv-lite and wheels built for another torch do not do. '
            'Build it from source: MMCV_WITH_OPS=1 CFLAGS=-g0 pip install '
            '--no-build-isolation --no-cache-dir --force-reinstall --no-deps '
            'onedl-mmcv (or mmcv).'
        ) from error


def replace_batch_sampler(loader: Any, batch_sampler: Any) -> None:
    """Give a DataLoader another batch sampler.

    It forbids that, since one whose workers run would not notice; it has to
    come before the first iteration.
    """
    object.__setattr__(loader, 'batch_sampler', batch_sampler)


def replace_checkpoint_loader(load: Callable, load_url: Callable) -> None:
    """Have MMEngine open checkpoints by other functions.

    What it has for files and for addresses executes what is pickled in them,
    in some versions always and in others where it cannot be read without.

    Args:
        load (Callable): Takes ``file``, a name or an open file, and
            ``map_location``.
        load_url (Callable): Takes the address, ``model_dir``,
            ``map_location`` and ``progress``.
    """
    from mmengine.runner import checkpoint

    def load_local(filename: str, map_location: Any = None) -> object:
        return load(os.path.expanduser(filename), map_location=map_location)

    checkpoint.CheckpointLoader.register_scheme('', load_local, force=True)
    checkpoint.load_url = load_url
    if hasattr(checkpoint, '_safe_torch_load'):  # of OneDL, for the rest
        checkpoint._safe_torch_load = load


def building_runner() -> Any:
    """The Runner of MMEngine that is being built by a caller, or None.

    MMEngine tells a model neither where its config is nor whether a
    checkpoint is loaded to resume, and calls nothing of a model at that time;
    so that the Runner is looked for among the callers of the constructor.
    """
    from mmengine.runner import Runner
    from mmengine.runner._flexible_runner import FlexibleRunner

    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get('self')
        if isinstance(owner, (Runner, FlexibleRunner)):
            return owner
        frame = frame.f_back
    return None
