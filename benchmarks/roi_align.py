"""RoIAlign on a processor: mmcv's and that of FastRoIAlignHook.

Two maps of a feature pyramid, of an image of 512 x 640, and the boxes that
belong to them; forward alone and with the gradient.
"""

import argparse

import torch
from measure import Record, alternate
from mmcv.ops import roi_align as by_mmcv

from mmdet_rankkd.ops import roi_align

#: Stride of a map, and the range of the sides of its boxes.
LEVELS = {4: (8, 112), 8: (112, 224)}
HEIGHT, WIDTH = 512, 640


def boxes(count, low, high):
    """Boxes inside of the image, their sides in a range."""
    side = low + torch.rand(count, 2) * (high - low)
    corner = torch.rand(count, 2) * (torch.tensor([WIDTH, HEIGHT]) - side)
    return torch.cat([torch.zeros(count, 1), corner, corner + side], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--boxes', type=int, default=512)
    parser.add_argument('--seconds', type=float, default=15)
    args = parser.parse_args()
    torch.manual_seed(0)
    record = Record('roi_align')
    for stride, sides in LEVELS.items():
        features = torch.randn(1, 256, HEIGHT // stride, WIDTH // stride)
        features.requires_grad_()
        rois = boxes(args.boxes, *sides)
        scale = 1 / stride
        functions = {
            'mmcv': lambda f=features, r=rois, s=scale: by_mmcv(
                f, r, (7, 7), s, 0, 'avg', True
            ),
            'products': lambda f=features, r=rois, s=scale: roi_align(
                f, r, (7, 7), s
            ),
        }
        weight = torch.randn(args.boxes, 256, 7, 7)

        def both(function, features=features, weight=weight):
            torch.autograd.grad(function(), features, weight)

        case = f'{args.boxes} boxes, stride {stride}'
        times = alternate(functions, args.seconds)
        record.add(f'{case}, forward', times, 'mmcv')
        steps = {n: lambda f=f: both(f) for n, f in functions.items()}
        times = alternate(steps, args.seconds)
        record.add(f'{case}, forward and backward', times, 'mmcv')
    record.save()


if __name__ == '__main__':
    main()
