"""What the teacher's part of a step costs, by its options.

Backbone, neck and the head's scores on the student's boxes; a ResNet-50 with
random weights, batch norms with random statistics.
"""

import argparse
from functools import partial

import torch
from measure import Record, alternate
from step import BF16, EXACT, batch, build_distiller
from torch import nn

from mmdet_rankkd.engine.hooks.compile_hook import compile_parts
from mmdet_rankkd.engine.pooling import pool_fast
from mmdet_rankkd.utils import register_all_modules

#: Options of the teacher, and what else is done to it.
VARIANTS = {
    'float32': (dict(), []),
    'folded': (dict(fold_norms=True), []),
    'channels_last': (dict(channels_last=True), []),
    'folded, channels_last': (EXACT, []),
    'bf16': (dict(dtype='bf16'), []),
    'folded, channels_last, bf16': (BF16, []),
}
#: Where a GPU has RoIAlign of its own, these would change nothing.
ON_A_PROCESSOR = {
    'FastRoIAlignHook': (dict(), [pool_fast]),
    'folded, channels_last, FastRoIAlignHook': (EXACT, [pool_fast]),
    'folded, channels_last, bf16, FastRoIAlignHook': (BF16, [pool_fast]),
    'folded, channels_last, bf16, FastRoIAlignHook, CompileHook': (
        BF16,
        [pool_fast, partial(compile_parts, options={})],
    ),
}


def randomize(model):
    """Statistics as after a training, so that folding changes weights."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)


def build(device, options, changes):
    """A distiller, its teacher with random weights, and changed."""
    torch.manual_seed(0)
    model = build_distiller(device, prepare=randomize, **options)
    for change in changes:
        change(model.teacher.model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=1)
    parser.add_argument('--size', type=int, nargs=2, default=(512, 640))
    parser.add_argument('--seconds', type=float, default=60)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    register_all_modules()
    variants = dict(VARIANTS)
    if device == 'cpu':
        variants.update(ON_A_PROCESSOR)
    models = {name: build(device, *x) for name, x in variants.items()}
    first = models['float32']
    data = batch(args.images, *args.size)
    data = first.data_preprocessor.student(data, True)
    with first.logits.record(first.student) as seen:
        first.student(**data, mode='loss')

    def replay(model):
        records = dict(logits=(model.logits, seen))
        return model.teacher.replay(data['inputs'], records)

    def logits(model):
        return replay(model)['logits'].teacher

    expected = logits(first)
    for name, model in models.items():
        error = (logits(model) - expected).abs().max() / expected.std()
        print(f'  {name}: largest error of a logit {error:.1e} deviations')
    record = Record('teacher')
    times = alternate(
        {name: lambda m=model: replay(m) for name, model in models.items()},
        args.seconds,
    )
    case = f'{args.images} images of {args.size[0]} x {args.size[1]}'
    record.add(case, times, 'float32')
    record.save()


if __name__ == '__main__':
    main()
