"""What ``rankkd train`` and ``rankkd test`` do.

Settings and their meaning are those of MMDetection's scripts of the same
names. Those are not in every distribution of MMDetection, and they cannot
open configs with an ``mmdet_rankkd::`` base.
"""

import argparse
import logging
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple
from urllib.error import URLError

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmdet_rankkd.checkpoint.build import config_errors
from mmdet_rankkd.checkpoint.diagnose import first_line
from mmdet_rankkd.checkpoint.latest import instead_of_damaged
from mmdet_rankkd.checkpoint.load import StateDict, load_weights
from mmdet_rankkd.checkpoint.read import (
    locate_file,
    read_checkpoint,
    refuse_pickled_code,
)
from mmdet_rankkd.compat import hide_note_on_faster_coco
from mmdet_rankkd.datasets.check_coco import coco_problems
from mmdet_rankkd.datasets.two_resolutions import with_students_image
from mmdet_rankkd.distillers.student_wrapper import StudentWrapper
from mmdet_rankkd.registry import MODELS

PACKAGE = Path(__file__).resolve().parents[1]
#: What a data set raises that cannot be read.
DATA_ERRORS = (AssertionError, LookupError, OSError, TypeError, ValueError)


@dataclass(frozen=True)
class Pictures:
    """What becomes of the predictions of a test.

    Attributes:
        show (bool): Whether they are shown.
        show_dir (str, optional): Folder that pictures are saved in.
        wait_time (float): Seconds per picture that is shown.
    """

    show: bool = False
    show_dir: Optional[str] = None
    wait_time: float = 2


def parse_options(options: Sequence[str]) -> Dict[str, Any]:
    """``KEY=VALUE`` items as MMEngine's ``--cfg-options`` reads them.

    Raises:
        ValueError: If an item has no ``=``.
    """
    for item in options:
        if '=' not in item:
            raise ValueError(f'expected KEY=VALUE, got {item!r}')
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction, default={})
    return parser.parse_args(
        ['--options', *options] if options else []
    ).options


def read_config(
    path: str,
    work_dir: Optional[str] = None,
    options: Sequence[str] = (),
    launcher: str = 'none',
    local_rank: int = 0,
) -> Config:
    """Config of a file, with a work_dir.

    Args:
        path (str): The file, or ``package::path``.
        work_dir (str, optional): Work dir in place of the config's, which is
            ``work_dirs/<name of the file>`` by default.
        options (Sequence[str]): ``KEY=VALUE`` items.
        launcher (str): Launcher of the processes of the training.
        local_rank (int): Local rank of this process, where the launcher does
            not say it in the environment.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or has no model.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    file = locate_file(path, 'config')
    with config_errors(f'config {path!r}'):
        cfg = Config.fromfile(file)
    if 'model' not in cfg:
        raise ValueError(
            f'config {path!r} has no model. Name the config of a training, '
            'not a part of one'
        )
    cfg.launcher = launcher
    cfg.merge_from_dict(parse_options(options))
    if work_dir:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(path).stem)
    return cfg


def guard_checkpoints(cfg: Config, trust: bool) -> None:
    """Let no checkpoint execute code, unless the user trusts them.

    Args:
        cfg (Config): Its ``load_from`` is read once, so that what is wrong
            with it is said before anything is built.
        trust (bool): Whether pickled code may be executed.

    Raises:
        FileNotFoundError, ValueError: As :func:`read_checkpoint`; and if
            a training is to be resumed from weights alone.
    """
    if trust:
        os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'
        return
    refuse_pickled_code()
    start = cfg.get('load_from')
    is_file = start and ('://' not in start or start.startswith('http'))
    if is_file and start != 'auto':
        meta: object = read_checkpoint(start).get('meta')
        if cfg.get('resume') and not (
            isinstance(meta, dict) and {'epoch', 'iter'} <= set(meta)
        ):
            raise ValueError(
                f'checkpoint {start!r} does not say at which epoch and '
                'iteration it was written, so that no training can be resumed '
                'from it. To begin one with its weights, set load_from and '
                'leave out --resume'
            )


def add_safe_hooks(cfg: Config) -> None:
    """Have a training look at its data and its losses, and survive kills.

    ``DataCheckHook`` and ``NonFiniteHook`` are added as the default hooks
    ``data`` and ``finite`` unless there is one of that name (None for no such
    hook), and ``AtomicCheckpointHook`` takes the place of MMEngine's
    ``CheckpointHook``. None of them changes what is trained.

    Args:
        cfg (Config): Config of a training; its ``default_hooks`` are set.
    """
    cfg.setdefault('default_hooks', {})
    hooks = cfg.default_hooks
    hooks.setdefault('data', dict(type='mmdet_rankkd.DataCheckHook'))
    hooks.setdefault('finite', dict(type='mmdet_rankkd.NonFiniteHook'))
    hooks.setdefault('checkpoint', dict(type='CheckpointHook'))
    saving = hooks.checkpoint
    if saving and saving.get('type') in ('CheckpointHook', CheckpointHook):
        saving['type'] = 'mmdet_rankkd.AtomicCheckpointHook'


def innermost_config(dataset: ConfigDict) -> ConfigDict:
    """Config of the data set inside wrappers such as RepeatDataset."""
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def explain_data(cfg: Config, error: Exception) -> None:
    """Raise an error that says what is wrong with the data of a training.

    MMDetection says of most faults of an annotation file what Python says of
    them. Nothing is raised if the files have none, or if the error is one of
    this package, which says by itself what is wrong.

    Args:
        cfg (Config): Config of the training.
        error (Exception): What the training ended with.

    Raises:
        ValueError: With the faults and their number.
    """
    if is_from_here(error):
        return
    for what, split in (('training', 'train'), ('validation', 'val')):
        file, problems = problems_of(cfg.get(f'{split}_dataloader') or {})
        if problems:
            reason = first_line(str(error))
            raise ValueError(
                f'the {what} set, {file}: {"; ".join(problems)}. '
                f'Training ended with {type(error).__name__}: {reason}'
            ) from error


def problems_of(loader: Mapping[str, Any]) -> Tuple[Path, List[str]]:
    """Annotation file of a data loader's config, and what is wrong with it.

    Args:
        loader (Mapping): Loader with a ``dataset``. Files that are no JSON
            have no problems.
    """
    dataset = innermost_config(loader.get('dataset') or ConfigDict())
    name = str(dataset.get('ann_file', ''))
    root = Path(dataset.get('data_root') or '')
    if not name.endswith('.json'):
        return root / name, []
    classes = (dataset.get('metainfo') or {}).get('classes', ())
    prefix = (dataset.get('data_prefix') or {}).get('img', '')
    return root / name, coco_problems(root / name, classes, root / prefix)


def build_runner(cfg: Config) -> Runner:
    """Runner of a config, of its ``runner_type`` if it names one.

    Raises:
        ValueError: If a distillation is to be sharded, see
            :func:`refuse_shards`; if a part of this package finds a mistake
            in the config, such as a misspelt loss.
    """
    refuse_shards(cfg)
    hide_note_on_faster_coco(cfg)
    if works_by_gloo(cfg):
        join_on_cpu(cfg)
    build = RUNNERS.build if 'runner_type' in cfg else Runner.from_cfg
    try:
        return build(cfg)
    except (KeyError, TypeError) as error:
        if is_from_here(error):
            raise ValueError(error.args[0]) from error
        raise


def is_from_here(error: Exception) -> bool:
    """Whether this package raised an error, which then says what is wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(PACKAGE)


def refuse_shards(cfg: Config) -> None:
    """Refuse MMEngine's ``FSDPStrategy`` for a distiller.

    It trains as DDP does. But FSDP looks in the state dict for the names of
    the parameters as they are in the module, and a distiller has the plain
    student's there: the first checkpoint would end the training.

    Args:
        cfg (Config): Config of a training.

    Raises:
        ValueError: If its model is a distiller and its strategy that one.
    """
    if (cfg.get('strategy') or {}).get('type') != 'FSDPStrategy':
        return
    kind = cfg.model.type
    model = MODELS.get(kind) if isinstance(kind, str) else kind
    if model is not None and issubclass(model, StudentWrapper):
        raise ValueError(
            'strategy=FSDPStrategy cannot save the checkpoints of a '
            'distillation. Leave out strategy and runner_type: the training '
            'then goes by DDP, which holds student and teacher whole on '
            'each GPU.'
        )


def works_by_gloo(cfg: Config) -> bool:
    """Whether there are several processes, and no GPU."""
    several = cfg.get('launcher') in ('pytorch', 'slurm')
    return several and get_device() == 'cpu'


def join_on_cpu(cfg: Config) -> None:
    """Let the processes of torchrun or slurm work together without a GPU.

    MMEngine assumes one where it starts the process group, and where it wraps
    the model. As with it, ``env_cfg.dist_cfg.timeout`` is in seconds.

    Args:
        cfg (Config): Its ``model_wrapper_cfg`` is set.
    """
    if not torch.distributed.is_initialized():
        if cfg.launcher == 'slurm':
            name_processes_of_slurm(cfg)
        seconds = dist_settings(cfg).get('timeout')
        settings: Dict[str, Any] = {}
        if seconds is not None:
            settings['timeout'] = timedelta(seconds=seconds)
        torch.distributed.init_process_group('gloo', **settings)
    wrapper = cfg.get('model_wrapper_cfg')
    if wrapper is None:
        wrapper = dict(
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def dist_settings(cfg: Config) -> Mapping[str, Any]:
    """``env_cfg.dist_cfg`` of a config; empty where there is none."""
    return (cfg.get('env_cfg') or {}).get('dist_cfg') or {}


SLURM_NAMES = dict(
    RANK='SLURM_PROCID', LOCAL_RANK='SLURM_LOCALID', WORLD_SIZE='SLURM_NTASKS'
)


def name_processes_of_slurm(cfg: Config) -> None:
    """Tell torch what slurm says of this process, and where the first is.

    MMEngine does so too, and then asks for a GPU. ``MASTER_ADDR`` and
    ``MASTER_PORT`` may be set, the port also as
    ``env_cfg.dist_cfg.port``.

    Args:
        cfg (Config): Config of a training or test.

    Raises:
        ValueError: If this is no process of ``srun``, or ``scontrol`` does
            not name its nodes.
    """
    needed = [*SLURM_NAMES.values(), 'SLURM_NODELIST']
    lacking = [x for x in needed if x not in os.environ]
    if lacking:
        raise ValueError(
            f'--launcher slurm without {", ".join(lacking)}: start it by '
            'srun, for example with tools/slurm_train.sh'
        )
    for name, source in SLURM_NAMES.items():
        os.environ[name] = os.environ[source]
    if 'MASTER_ADDR' not in os.environ:
        nodes = os.environ['SLURM_NODELIST']
        done = subprocess.run(
            ['scontrol', 'show', 'hostname', nodes],
            stdout=subprocess.PIPE,
            text=True,
        )
        if not done.stdout.strip():
            raise ValueError(
                f'scontrol does not name the nodes {nodes}: set MASTER_ADDR '
                'to the first of them'
            )
        os.environ['MASTER_ADDR'] = done.stdout.split()[0]
    port = dist_settings(cfg).get('port')
    if port is not None:
        os.environ['MASTER_PORT'] = str(port)
    os.environ.setdefault('MASTER_PORT', '29500')
    if os.environ['RANK'] == '0':
        count = os.environ['WORLD_SIZE']
        print_log(f'no GPU is visible: {count} processes work on the CPU')


def leave(cfg: Config) -> None:
    """End the process after its work is done, where it works by gloo.

    Gloo's threads outlive ``destroy_process_group`` as long as a model refers
    to the group. One that asks for the interpreter while it shuts down aborts
    the process ("terminate called without an active exception"), and torchrun
    or slurm then reports a failed training. So the interpreter is not shut
    down.
    """
    if not works_by_gloo(cfg):
        return
    torch.distributed.barrier()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def train(
    cfg: Config,
    amp: bool = False,
    auto_scale_lr: bool = False,
    resume: Optional[str] = None,
    trust: bool = False,
) -> None:
    """Train by a config.

    Args:
        cfg (Config): Config of :func:`read_config`.
        amp (bool): Automatic mixed precision.
        auto_scale_lr (bool): Scale the learning rate with the batch size.
        resume (str, optional): Checkpoint to go on from; ``'auto'`` for the
            latest of the work dir.
        trust (bool): Execute pickled code in checkpoints.

    Raises:
        ValueError: If the config does not say which batch size its learning
            rate is for, or no checkpoint of the work dir can be resumed from;
            if a checkpoint needs pickled code, or weights cannot be
            downloaded; or if detectors cannot be trained on the training set.
    """
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ValueError(
                f'{cfg.filename} has no auto_scale_lr.base_batch_size, which '
                '--auto-scale-lr scales from'
            )
        cfg.auto_scale_lr.enable = True
    if amp:
        if get_device() == 'cpu':
            raise ValueError(
                "--amp needs a GPU: MMEngine's AmpOptimWrapper does not train "
                'on the CPU. Leave it out'
            )
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if resume:
        cfg.resume = True
        cfg.load_from = resume
        if resume == 'auto':
            cfg.load_from = instead_of_damaged(cfg.work_dir, trust)
    guard_checkpoints(cfg, trust)
    add_safe_hooks(cfg)
    runner = build_runner(cfg)
    try:
        runner.train()
    except URLError as error:
        raise ValueError(
            'initial weights that the config names by an address cannot be '
            f'downloaded ({error.reason}). Download them elsewhere and name '
            'the file in its place, backbone=dict(init_cfg=dict('
            "checkpoint='FILE')), or start from random ones with "
            'backbone=dict(init_cfg=None)'
        ) from error
    except DATA_ERRORS as error:
        # Not of the runner, which would build its loop once more.
        if not runner.message_hub.runtime_info.get('iter'):
            explain_data(cfg, error)
        raise
    leave(cfg)


def test(
    cfg: Config,
    checkpoint: str,
    out: Optional[str] = None,
    pictures: Optional[Pictures] = None,
    tta: bool = False,
    trust: bool = False,
) -> None:
    """Test a checkpoint by a config.

    Args:
        cfg (Config): Config of :func:`read_config`.
        checkpoint (str): File of the weights.
        out (str, optional): Pickle file that predictions are written to.
        pictures (Pictures, optional): What becomes of the predictions.
        tta (bool): Test-time augmentation.
        trust (bool): Execute pickled code in the checkpoint.

    Raises:
        ValueError: If ``out`` is no name of a pickle file, the checkpoint
            needs pickled code, or its weights are not those of the model.
    """
    if out and not out.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--out must end in .pkl or .pickle, got {out!r}')
    if out:  # what does not do is said now and not after the test
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    cfg.load_from = checkpoint
    if pictures and (pictures.show or pictures.show_dir):
        from mmdet.engine.hooks.utils import trigger_visualization_hook

        cfg = trigger_visualization_hook(cfg, pictures)
    if tta:
        use_tta(cfg)
    guard_checkpoints(cfg, trust)
    runner = build_runner(cfg)
    if not tta:
        check_weights(runner, checkpoint, trust)
    if out:
        from mmdet.evaluation import DumpDetResults

        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=out))
    runner.test()
    leave(cfg)


def check_weights(runner: Runner, checkpoint: str, trust: bool) -> None:
    """Raise ValueError unless a checkpoint has all weights of a model.

    MMEngine loads what fits, says the rest in the log, and tests what comes
    out. What a distiller learns of its own is not asked for, and older names
    that a module of MMDetection knows of its weights will do.

    Args:
        runner (Runner): Runner of the model.
        checkpoint (str): Checkpoint of the weights. Those at addresses other
            than http are left to MMEngine.
        trust (bool): Execute pickled code in it.
    """
    if '://' in checkpoint and not checkpoint.startswith('http'):
        return
    model: Any = runner.model
    if is_model_wrapper(model):
        model = model.module
    if isinstance(model, StudentWrapper):
        model = model.student
    weights = read_checkpoint(checkpoint, trust)['state_dict']
    same_names = set(model.state_dict()) <= set(weights)
    if same_names or not finds_all(model, weights):
        load_weights(model, weights, f'checkpoint {checkpoint!r}')


def finds_all(model: torch.nn.Module, weights: StateDict) -> bool:
    """Whether a model, told the weights, lacks none by its own account."""
    try:
        return not model.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError:  # of another shape
        return False


def use_tta(cfg: Config) -> None:
    """Wrap the model for test-time augmentation: flip, unless configured."""
    if 'tta_model' not in cfg:
        nms = dict(type='nms', iou_threshold=0.5)
        cfg.tta_model = dict(
            type='DetTTAModel', tta_cfg=dict(nms=nms, max_per_img=100)
        )
    dataset = cfg.test_dataloader.dataset
    if 'tta_pipeline' not in cfg:
        innermost = innermost_config(dataset)
        flips = [dict(type='RandomFlip', prob=p) for p in (1.0, 0.0)]
        pack = dict(
            type='PackDetInputs',
            meta_keys=(
                'img_id',
                'img_path',
                'ori_shape',
                'img_shape',
                'scale_factor',
                'flip',
                'flip_direction',
            ),
        )
        cfg.tta_pipeline = [
            *with_students_image(innermost.pipeline)[:-1],
            dict(type='TestTimeAug', transforms=[flips, [pack]]),
        ]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline
