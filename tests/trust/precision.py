"""Does a distillation under autocast learn as the one in float32 does?

    python tests/trust/precision.py [NAME ...] [--steps 200]

trains each distiller so many steps in float32, and from the same weights on
the same batches with bfloat16 and with float16, the latter with scaled losses;
on the CPU, or with ``--device cuda`` on a GPU. A curve is the means of a loss
over windows of 20 steps.
Prints a line of JSON for each of both: whether all losses and weights were
finite, how many steps float16 left out because a gradient was not, and the
largest difference of the curve of the total loss from that in float32, as a
part of the largest value of that curve; beside it the same of the term that
differs most, and as ``rounding`` the same of other trainings in float32, whose
weights begin with a relative noise of 1e-6, the median of ``--noises``: how
far rounding alone moves so short a training. Operators that have no kernel for
a dtype are named as ``lacking``.

The classifier learns the digits from the shipped teacher; the detectors learn
eight batches of coloured noise from teachers of random weights.
"""

import argparse
import csv
import json
import math
import sys
import tempfile
import time
from contextlib import nullcontext
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Callable, ContextManager, Dict, Iterator, List, Optional

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner, set_random_seed
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from tests.helpers import raw_batch  # noqa: E402
from tests.setups import (  # noqa: E402
    SETUPS,
    add_masks,
    build_model,
    distiller_config,
    save_teacher,
)
from tests.trust.kills import MODEL  # noqa: E402

KL = dict(type='mmdet_rankkd.KLDivLoss')
BINARY = dict(type='mmdet_rankkd.BinaryKLDivLoss')
RANK = dict(type='mmdet_rankkd.KendallRankLoss')
LOSSES = {
    'faster-rcnn': [KL, RANK],
    'cascade-rcnn': [KL, RANK],
    'mask-rcnn': [KL, RANK, dict(type='mmdet_rankkd.MaskKDLoss')],
    'detr': [KL, RANK],
    'dino': [BINARY, RANK],
    **{
        head: [BINARY, RANK]
        for head in ('retinanet', 'fcos', 'atss', 'gfl', 'rtmdet')
    },
}
NAMES = ('classifier', *LOSSES)
DTYPES = ('bfloat16', 'float16')
WINDOW = 20
#: Relative noise on the weights, a few units in the last place of float32.
NOISE = 1e-6
#: So many of them: a single one may move a training little by chance.
NOISES = 5
#: How PyTorch and mmcv say that an operator has no kernel for a dtype.
NO_KERNEL = ('not implemented for', 'expected scalar type Float but found')
CLASSIFIER = (
    MODEL
    + """    losses=[
        dict(type='mmdet_rankkd.KLDivLoss'),
        dict(type='mmdet_rankkd.KendallRankLoss')])
train_dataloader = dict(
    batch_size=16, num_workers=0, persistent_workers=False)
"""
)
#: By the name of a loss, its value at each step.
Curves = Dict[str, List[float]]


def classifier() -> tuple:
    """A distiller of the digits, and its batches."""
    config = Config.fromstring(CLASSIFIER.format(root=ROOT), '.py')
    model = build_model(config.model.to_dict())
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    return model, cycle(loader)


def detector(name: str, folder: Path) -> tuple:
    """A distiller of a detector, and its batches."""
    setup = SETUPS[name]()
    checkpoint = folder / f'{name}.pth'
    if not checkpoint.is_file():
        save_teacher(setup, checkpoint)
    model = build_model(distiller_config(setup, checkpoint, LOSSES[name]))
    batches = [raw_batch(2, seed, sizes=((64, 64),)) for seed in range(8)]
    if setup.masks:
        for batch in batches:
            add_masks(batch)
    return model, cycle(batches)


@torch.no_grad()
def disturb(model: nn.Module, seed: int, noise: float = NOISE) -> None:
    """Multiply each weight by one and a little."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        drawn = torch.randn(weight.shape, generator=generator)
        weight.mul_(1 + noise * drawn)


def curves(
    built: tuple,
    steps: int,
    dtype: Optional[torch.dtype],
    device: str,
    noise_seed: Optional[int] = None,
) -> tuple[Curves, int]:
    """Train and keep the losses.

    Args:
        built (tuple): A distiller and its batches.
        steps (int): How many.
        dtype (torch.dtype, optional): Of the autocast; None for none.
        device (str): Where it trains.
        noise_seed (int, optional): Of the noise on the first weights; see
            :func:`disturb`.

    Returns:
        tuple: The curves, and how many steps were left out.

    Raises:
        FloatingPointError: If a loss or, at the end, a weight is not finite.
    """
    model, batches = built
    model.init_weights()
    if noise_seed is not None:
        disturb(model, noise_seed)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    half = dtype is torch.float16
    scaler = torch.amp.GradScaler(device, enabled=half, init_scale=2.0**7)
    kept: Curves = {}
    left_out = 0
    for step in range(steps):
        data = model.data_preprocessor(next(batches), True)
        with autocast(dtype, device):
            losses = model(**data, mode='loss')
        total, values = model.parse_losses(losses)
        for name, tensor in values.items():
            value = float(tensor.detach())
            if not math.isfinite(value):
                raise FloatingPointError(f'{name} is {value} at step {step}')
            kept.setdefault(name, []).append(value)
        optimizer.zero_grad()
        scaler.scale(total).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        left_out += scaler.get_scale() < before
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise FloatingPointError(f'{name} is not finite')
    return kept, left_out


def autocast(dtype: Optional[torch.dtype], device: str) -> ContextManager:
    """Of the device, or nothing."""
    if dtype is None:
        return nullcontext()
    return torch.autocast(device, dtype)


def difference(one: Curves, other: Curves) -> Dict[str, float]:
    """Of each loss, between the means over windows; see the module."""
    found = {}
    for name, values in one.items():
        if 'loss' not in name:
            continue
        window = min(WINDOW, len(values))
        count = len(values) // window * window
        means = [
            torch.tensor(x[:count]).view(-1, window).mean(1)
            for x in (values, other[name])
        ]
        largest = float((means[0] - means[1]).abs().max())
        found[name] = largest / max(float(means[0].abs().max()), 1e-12)
    return found


def typical_difference(one: Curves, others: List[Curves]) -> float:
    """Of the total loss: the median over several trainings."""
    return median(difference(one, x)['loss'] for x in others)


def compare(
    name: str,
    steps: int,
    dtypes: List[str],
    device: str,
    noises: int,
    keep: Callable[[str, str, Curves], None],
) -> Iterator[dict]:
    """Train one distiller in float32 and in other dtypes.

    Args:
        name (str): Of the distiller.
        steps (int): How many.
        dtypes (list[str]): Names of the others.
        device (str): Where it trains.
        noises (int): How many trainings begin with disturbed weights.
        keep (Callable): Is given name, dtype and curves of each training.
    """
    MMLogger.get_instance('precision', log_level='ERROR')
    with tempfile.TemporaryDirectory() as folder:

        def build() -> tuple:
            torch.manual_seed(0)
            if name == 'classifier':
                return classifier()
            return detector(name, Path(folder))

        begin = time.process_time()
        reference = train(build, steps, None, device)[0]
        keep(name, 'float32', reference)
        again = [
            train(build, steps, None, device, seed)[0]
            for seed in range(noises)
        ]
        rounding = typical_difference(reference, again)
        for dtype in dtypes:
            facts = dict(case=name, dtype=dtype, steps=steps)
            try:
                kind = getattr(torch, dtype)
                found, left_out = train(build, steps, kind, device)
                keep(name, dtype, found)
                by_loss = difference(reference, found)
                total = by_loss.pop('loss')
                term = max(by_loss, key=lambda x: by_loss[x])
                facts.update(
                    finite=True,
                    left_out=left_out,
                    difference=total,
                    rounding=rounding,
                    term=term,
                    term_difference=by_loss[term],
                )
            except FloatingPointError as error:
                facts.update(finite=False, error=str(error))
            except (NotImplementedError, RuntimeError) as error:
                if not any(x in str(error) for x in NO_KERNEL):
                    raise
                facts.update(lacking=str(error))
            minutes = (time.process_time() - begin) / 60
            yield dict(facts, cpu_minutes=round(minutes, 2))


def train(
    build: Callable[[], tuple],
    steps: int,
    dtype: Optional[torch.dtype],
    device: str,
    noise_seed: Optional[int] = None,
) -> tuple[Curves, int]:
    """Train from the same weights, with the same random numbers."""
    built = build()
    set_random_seed(1)
    return curves(built, steps, dtype, device, noise_seed)


def write_curves(file: Optional[Path]) -> Callable[[str, str, Curves], None]:
    """Of a file of curves, or of none: what writes those of a training."""
    if file is not None:
        file.write_text('case,dtype,step,loss\n')

    def keep(name: str, dtype: str, found: Curves) -> None:
        if file is not None:
            with file.open('a', newline='') as lines:
                csv.writer(lines, lineterminator='\n').writerows(
                    (name, dtype, step, f'{value:.6g}')
                    for step, value in enumerate(found['loss'])
                )

    return keep


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('names', nargs='*', metavar='NAME', help='all')
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--dtypes', nargs='+', choices=DTYPES, default=DTYPES)
    parser.add_argument(
        '--noises',
        type=int,
        default=NOISES,
        help='trainings that say what rounding does; %(default)s',
    )
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument(
        '--curves', type=Path, metavar='FILE', help='total losses, as CSV'
    )
    args = parser.parse_args()
    unknown = [x for x in args.names if x not in NAMES]
    if unknown:
        parser.error(f'no {unknown}; there are {", ".join(NAMES)}')
    if args.noises < 1:
        parser.error('--noises: at least one training says what rounding does')
    torch.set_num_threads(1)
    keep = write_curves(args.curves)
    for name in args.names or NAMES:
        for facts in compare(
            name, args.steps, args.dtypes, args.device, args.noises, keep
        ):
            print(json.dumps(facts), flush=True)


if __name__ == '__main__':
    main()
