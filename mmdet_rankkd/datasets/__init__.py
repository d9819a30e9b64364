from .cifar100 import CIFAR100
from .contrast import ContrastDataset
from .digits import DigitsDataset, make_digits
from .digits_classification import DigitsClassification
from .imagenet import ImageNet
from .transforms import (
    PackCls,
    PadCrop,
    RandAugmentPIL,
    RandomCutout,
    RandomNoiseErasing,
    RandomResizedCrop,
    ResizeShort,
    TwoViews,
)
from .two_resolutions import TwoResolutions
from .unlabelled import UnlabelledDataset

__all__ = [
    'CIFAR100',
    'ContrastDataset',
    'DigitsClassification',
    'DigitsDataset',
    'ImageNet',
    'PackCls',
    'PadCrop',
    'RandAugmentPIL',
    'RandomCutout',
    'RandomNoiseErasing',
    'RandomResizedCrop',
    'ResizeShort',
    'TwoResolutions',
    'TwoViews',
    'UnlabelledDataset',
    'make_digits',
]
