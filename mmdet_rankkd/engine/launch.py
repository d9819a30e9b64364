"""What ``rankkd train`` and ``rankkd test`` do.

Settings and their meaning are those of MMDetection's scripts of the same
names. Those are not in every distribution of MMDetection, and they cannot
open configs with an ``mmdet_rankkd::`` base.
"""

import argparse
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmdet_rankkd.checkpoint.latest import instead_of_damaged
from mmdet_rankkd.checkpoint.read import locate_file
from mmdet_rankkd.compat import hide_note_on_faster_coco


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
        work_dir (str, optional): In place of the config's, which is
            ``work_dirs/<name of the file>`` by default.
        options (Sequence[str]): ``KEY=VALUE`` items.
        launcher (str): Of the processes of the training.
        local_rank (int): Of this process, where the launcher does not say it
            in the environment.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg = Config.fromfile(locate_file(path, 'config'))
    cfg.launcher = launcher
    cfg.merge_from_dict(parse_options(options))
    if work_dir:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(path).stem)
    return cfg


def add_safe_hooks(cfg: Config) -> None:
    """Have a training notice losses that are not finite, and survive kills.

    ``NonFiniteHook`` is added as the default hook ``finite`` unless there is
    one of that name (None for no such hook), and ``AtomicCheckpointHook``
    takes the place of MMEngine's ``CheckpointHook``. Neither changes what is
    trained.

    Args:
        cfg (Config): Of a training; its ``default_hooks`` are set.
    """
    cfg.setdefault('default_hooks', {})
    hooks = cfg.default_hooks
    hooks.setdefault('finite', dict(type='mmdet_rankkd.NonFiniteHook'))
    hooks.setdefault('checkpoint', dict(type='CheckpointHook'))
    saving = hooks.checkpoint
    if saving and saving.get('type') in ('CheckpointHook', CheckpointHook):
        saving['type'] = 'mmdet_rankkd.AtomicCheckpointHook'


def build_runner(cfg: Config) -> Runner:
    """Runner of a config, of its ``runner_type`` if it names one."""
    hide_note_on_faster_coco(cfg)
    if cfg.get('launcher') == 'pytorch' and get_device() == 'cpu':
        join_on_cpu(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def join_on_cpu(cfg: Config) -> None:
    """Let the processes of torchrun work together without a GPU.

    MMEngine assumes one where it starts the process group, and where it wraps
    the model.

    Args:
        cfg (Config): Its ``model_wrapper_cfg`` is set.
    """
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    wrapper = cfg.get('model_wrapper_cfg')
    if wrapper is None:
        wrapper = dict(
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def leave(cfg: Config) -> None:
    """End the process after its work is done, where it works by gloo.

    Gloo's threads outlive ``destroy_process_group`` as long as a model refers
    to the group. One that asks for the interpreter while it shuts down aborts
    the process ("terminate called without an active exception"), and torchrun
    then reports a failed training. So the interpreter is not shut down.
    """
    if cfg.get('launcher') != 'pytorch' or get_device() != 'cpu':
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
) -> None:
    """Train by a config.

    Args:
        cfg (Config): Of :func:`read_config`.
        amp (bool): Automatic mixed precision.
        auto_scale_lr (bool): Scale the learning rate with the batch size.
        resume (str, optional): Checkpoint to go on from; ``'auto'`` for the
            latest of the work dir.

    Raises:
        ValueError: If the config does not say which batch size its learning
            rate is for, or no checkpoint of the work dir can be resumed from.
    """
    if amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ValueError(
                f'{cfg.filename} has no auto_scale_lr.base_batch_size, which '
                '--auto-scale-lr scales from'
            )
        cfg.auto_scale_lr.enable = True
    if resume:
        cfg.resume = True
        cfg.load_from = resume
        if resume == 'auto':
            cfg.load_from = instead_of_damaged(cfg.work_dir)
    add_safe_hooks(cfg)
    build_runner(cfg).train()
    leave(cfg)


def test(
    cfg: Config,
    checkpoint: str,
    out: Optional[str] = None,
    pictures: Optional[Pictures] = None,
    tta: bool = False,
) -> None:
    """Test a checkpoint by a config.

    Args:
        cfg (Config): Of :func:`read_config`.
        checkpoint (str): File of the weights.
        out (str, optional): Pickle file that predictions are written to.
        pictures (Pictures, optional): What becomes of the predictions.
        tta (bool): Test-time augmentation.

    Raises:
        ValueError: If ``out`` is no name of a pickle file.
    """
    if out and not out.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--out must end in .pkl or .pickle, got {out!r}')
    cfg.load_from = checkpoint
    if pictures and (pictures.show or pictures.show_dir):
        from mmdet.engine.hooks.utils import trigger_visualization_hook

        cfg = trigger_visualization_hook(cfg, pictures)
    if tta:
        use_tta(cfg)
    runner = build_runner(cfg)
    if out:
        from mmdet.evaluation import DumpDetResults

        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=out))
    runner.test()
    leave(cfg)


def use_tta(cfg: Config) -> None:
    """Wrap the model for test-time augmentation: flip, unless configured."""
    if 'tta_model' not in cfg:
        nms = dict(type='nms', iou_threshold=0.5)
        cfg.tta_model = dict(
            type='DetTTAModel', tta_cfg=dict(nms=nms, max_per_img=100)
        )
    dataset = cfg.test_dataloader.dataset
    if 'tta_pipeline' not in cfg:
        innermost = dataset
        while 'dataset' in innermost:
            innermost = innermost['dataset']
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
            *innermost.pipeline[:-1],
            dict(type='TestTimeAug', transforms=[flips, [pack]]),
        ]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline
