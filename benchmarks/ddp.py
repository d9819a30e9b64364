"""What DDP adds to a distillation step, with one recorder and with two.

Faster R-CNN, ResNet-50 to MobileNetV2, random weights. A process of its own on
each GPU that is there, or one alone on the CPU; no parameter may be unused.
"""

import argparse
import os
import tempfile
from functools import partial

import torch
from measure import Record, alternate
from mmengine.model import MMDistributedDataParallel
from step import batch, build_distiller, one_step
from torch import distributed, multiprocessing

from mmdet_rankkd.utils import register_all_modules


def run(rank, world, store, args):
    """One process: measure, and let the first write it down."""
    on_gpu = torch.cuda.is_available()
    device = f'cuda:{rank}' if on_gpu else 'cpu'
    if on_gpu:
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        'nccl' if on_gpu else 'gloo',
        init_method=f'file://{store}',
        rank=rank,
        world_size=world,
    )
    register_all_modules()
    logits = [
        dict(type='mmdet_rankkd.KLDivLoss'),
        dict(type='mmdet_rankkd.KendallRankLoss'),
    ]
    both = [*logits, dict(type='mmdet_rankkd.PKDLoss')]
    torch.manual_seed(rank)
    data = batch(args.images, *args.size)

    methods = {}
    for name, losses in {'RoIs': logits, 'RoIs and features': both}.items():
        torch.manual_seed(0)
        model = build_distiller(device, losses=losses)
        wrapped = MMDistributedDataParallel(
            model,
            device_ids=[rank] if on_gpu else None,
            broadcast_buffers=False,
            find_unused_parameters=False,
        )
        methods[name] = partial(one_step, model, data)
        methods[f'{name}, DDP'] = partial(one_step, model, data, wrapped)
    # As many turns in each process: they wait for each other.
    times = alternate(methods, float('inf'), most=args.turns)
    if rank == 0:
        record = Record('ddp')
        case = f'{world} processes, {args.images} images of {args.size[0]} x '
        record.add(case + str(args.size[1]), times, 'RoIs')
        record.save()
    distributed.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=1)
    parser.add_argument('--size', type=int, nargs=2, default=(256, 320))
    parser.add_argument('--turns', type=int, default=10)
    args = parser.parse_args()
    world = max(1, torch.cuda.device_count())
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, 'store')
        multiprocessing.spawn(run, (world, store, args), nprocs=world)


if __name__ == '__main__':
    main()
