"""Data preparation: what a distiller adds to the student's preprocessor."""

import argparse

import torch
from measure import Record, alternate
from mmdet.models import DetDataPreprocessor
from step import batch, build_distiller

from mmdet_rankkd.utils import register_all_modules


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=2)
    parser.add_argument('--size', type=int, nargs=2, default=(480, 640))
    parser.add_argument('--seconds', type=float, default=10)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    register_all_modules()
    model = build_distiller(device)
    data = batch(args.images, *args.size)
    ours = model.data_preprocessor
    teacher = model.teacher.model

    def with_teacher(preprocessor, shares_inputs):
        teacher.data_preprocessor = preprocessor
        model.teacher.shares_inputs = shares_inputs
        ours(data, True)

    other = DetDataPreprocessor(
        mean=[103.53, 116.28, 123.675],
        std=[1.0, 1.0, 1.0],
        pad_size_divisor=32,
    ).to(device)
    record = Record('data preparation')
    times = alternate(
        {
            'student alone': lambda: ours.student(data, True),
            'same normalisation': lambda: with_teacher(ours.student, True),
            'other normalisation': lambda: with_teacher(other, False),
        },
        args.seconds,
    )
    case = f'{args.images} images of {args.size[0]} x {args.size[1]}'
    record.add(case, times, 'student alone')
    record.save()


if __name__ == '__main__':
    main()
