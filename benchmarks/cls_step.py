"""A step of KD and ranking between classifiers, by what makes it faster.

ResNet-56 to ResNet-20 at 32 x 32 pixels with random weights, up to the
gradients.
"""

import argparse

import torch
from measure import Record, alternate
from step import BF16, EXACT, build_distiller, one_step

from mmdet_rankkd.engine.hooks.compile_hook import compile_parts
from mmdet_rankkd.experiments.cells import compose, read_cells
from mmdet_rankkd.structures import ClsDataSample
from mmdet_rankkd.utils import register_all_modules

PAIR = 'resnet56_resnet20'
#: Options of the teacher, and whether both networks are compiled.
VARIANTS = {
    'as it is': (dict(), False),
    'teacher folded, channels_last': (EXACT, False),
    'teacher folded, channels_last, bf16': (BF16, False),
    'CompileHook': (dict(), True),
    'CompileHook, teacher folded, channels_last': (EXACT, True),
    'CompileHook, teacher folded, channels_last, bf16': (BF16, True),
}


def build(device, options, compiled):
    """The distiller, its teacher with random weights."""
    torch.manual_seed(0)
    pair = compose(read_cells('cifar100'), PAIR, 'kd+rank')
    model = build_distiller(device, pair=pair, **options)
    if compiled:
        compile_parts(model.student, {})
        compile_parts(model.teacher.model, {})
    return model


def batch(images):
    """Raw images and labels, as a data loader gives them."""
    samples = [
        ClsDataSample(gt_label=torch.tensor([i % 100])) for i in range(images)
    ]
    inputs = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    return dict(inputs=list(inputs), data_samples=samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=64)
    parser.add_argument('--seconds', type=float, default=60)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    register_all_modules()
    data = batch(args.images)
    models = {n: build(device, *v) for n, v in VARIANTS.items()}
    record = Record('cls_step')
    times = alternate(
        {n: lambda m=model: one_step(m, data) for n, model in models.items()},
        args.seconds,
    )
    record.add(f'{args.images} images of 32 x 32', times, 'as it is')
    record.save()


if __name__ == '__main__':
    main()
