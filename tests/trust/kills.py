"""Does a training that is killed again and again end as one that was not?

    python tests/trust/kills.py

trains a small distillation by ``tools/train.py`` in one go; then once more,
killed with SIGKILL at random moments and resumed with ``--resume`` each time;
and compares the last checkpoints: weights, optimizer, EMA, schedules, what
losses learn, random generators and the place in the data, to the last bit.
Every second kill waits for the moment at which a checkpoint is being written.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

#: A config of the classifier of the digits, up to its losses.
MODEL = """
_base_ = '{root}/configs/digits_cls/resnet8_digits-cls.py'
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillClassifier',
    student=_base_.model,
    teacher=dict(
        config='{root}/configs/digits_cls/resnet14x2_digits-cls.py',
        checkpoint='{root}/configs/digits_cls/resnet14x2_digits-cls.pth'),
    logits=dict(type='mmdet_rankkd.ClsLogits'),
"""
CONFIG = (
    MODEL
    + """    losses=[
        dict(type='mmdet_rankkd.CTKDLoss', loss_weight=1.0),
        dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=1.0)])
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    dataset=dict(count=80))
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(count=20))
train_cfg = dict(max_epochs={steps} // 20, val_interval=5)
default_hooks = dict(
    logger=dict(interval=1000),
    checkpoint=dict(
        _delete_=True, type='CheckpointHook', by_epoch=False, interval=1,
        max_keep_ckpts=1))
custom_hooks = [
    dict(type='mmdet_rankkd.ExactResumeHook'),
    dict(type='EMAHook', momentum=0.01)]
randomness = dict(seed=0)
env_cfg = dict(dist_cfg=dict(backend='gloo'), cudnn_benchmark=False)
"""
)
#: What of a checkpoint says when and where it was written.
ASIDE = ('.meta.time', '.meta.cfg', '.meta.experiment_name', '.message_hub')


def start(config: Path, work: Path, *more: str) -> subprocess.Popen:
    """Start a training."""
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
    command = [sys.executable, '-W', 'ignore', str(ROOT / 'tools/train.py')]
    with (work.parent / 'output.log').open('a') as log:
        return subprocess.Popen(
            [*command, str(config), '--work-dir', str(work), *more],
            cwd=work.parent,
            env=env,
            stdout=log,
            stderr=log,
        )


def end_of(process: subprocess.Popen, log: Path) -> None:
    """Wait for a training that must succeed."""
    if process.wait():
        sys.exit(f'a training failed:\n{log.read_text()[-3000:]}')


def partials(work: Path) -> List[Path]:
    """Checkpoints that are being written."""
    return list(work.glob('.*.partial'))


def written(work: Path) -> Dict[str, float]:
    """Checkpoints that are there, and when they were written."""
    found = {}
    for path in work.glob('*.pth'):
        try:
            found[path.name] = path.stat().st_mtime
        except FileNotFoundError:  # removed just now
            continue
    return found


def kill(
    process: subprocess.Popen, work: Path, delay: float, writing: bool
) -> bool:
    """Kill a training some time after it has begun to train.

    Args:
        process (Popen): The training.
        work (Path): Its work folder.
        delay (float): Seconds from its first checkpoint on.
        writing (bool): Then wait until a checkpoint is being written.

    Returns:
        bool: Whether it was still running.
    """
    before = written(work)
    while process.poll() is None and written(work) == before:
        time.sleep(0.002)
    time.sleep(delay)
    while writing and process.poll() is None and not partials(work):
        time.sleep(0.0002)
    process.kill()
    return process.wait() < 0


def differences(one: Any, other: Any, where: str = '') -> Iterator[str]:
    """Where two checkpoints differ."""
    if where in ASIDE:
        return
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(k for k in other if k not in one)]:
            if key not in one or key not in other:
                yield f'{where}.{key}'
            else:
                yield from differences(one[key], other[key], f'{where}.{key}')
    elif isinstance(one, (list, tuple)) and len(one) == len(other):
        for number, (a, b) in enumerate(zip(one, other)):
            yield from differences(a, b, f'{where}.{number}')
    elif isinstance(one, torch.Tensor):
        if not torch.equal(one, other):
            yield where
    elif one != other:
        yield where


def last_checkpoint(work: Path) -> dict:
    """The last checkpoint of a training that ended."""
    from mmdet_rankkd.checkpoint.read import read_checkpoint

    file = Path((work / 'last_checkpoint').read_text())
    return dict(read_checkpoint(file))


def measure(kills: int, steps: int, seed: int) -> Dict[str, Any]:
    """Train twice and compare.

    Args:
        kills (int): How often the second training is killed.
        steps (int): Iterations of a training, a multiple of 100.
        seed (int): Of the moments.

    Returns:
        dict: ``kills`` that hit a running training, ``while_writing`` a
        checkpoint, ``damaged`` checkpoints found, ``iterations`` at which it
        was resumed, and ``differences`` at the end.
    """
    from mmdet_rankkd.checkpoint.latest import instead_of_damaged

    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, log = folder / 'kills_config.py', folder / 'output.log'
        config.write_text(CONFIG.format(root=ROOT, steps=steps))
        straight, work = folder / 'straight', folder / 'killed'
        end_of(start(config, straight), log)
        done, while_writing, damaged = 0, 0, 0
        resumed: List[int] = []
        while done < kills:
            process = start(config, work, '--resume')
            hit = kill(process, work, moments.uniform(0, 1), done % 2 == 1)
            if not hit:
                if process.returncode:
                    end_of(process, log)
                break  # it came to its end before
            done += 1
            while_writing += bool(partials(work))
            noted = (work / 'last_checkpoint').is_file()
            damaged += noted and instead_of_damaged(work) is not None
            newest = [int(x.stem[5:]) for x in work.glob('iter_*.pth')]
            resumed.append(max(newest))
        end_of(start(config, work, '--resume'), log)
        found = list(
            differences(last_checkpoint(straight), last_checkpoint(work))
        )
        left = sorted(x.name for x in work.glob('*.pth'))
    return dict(
        kills=done,
        while_writing=while_writing,
        damaged=damaged,
        iterations=resumed,
        left=left,
        differences=found,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--steps', type=int, default=600)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    facts = measure(args.kills, args.steps, args.seed)
    print(json.dumps(facts))
    if facts['kills'] < args.kills or facts['differences']:
        sys.exit(1)


if __name__ == '__main__':
    main()
