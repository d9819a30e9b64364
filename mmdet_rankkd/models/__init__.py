from .base import Features, Network
from .cifar_resnet import CifarResNet
from .cifar_shufflenet import CifarShuffleNetV1, CifarShuffleNetV2
from .cifar_vgg import CifarVGG
from .classifier import (
    ClsDataSample,
    DistilledHead,
    ImageClassifier,
    LinearHead,
)
from .deit import DeiT
from .mobilenet import CifarMobileNetV2, MobileNetV1
from .mobilenet_v2 import MobileNetV2
from .pit import PiT
from .pvt import PVT
from .resnet import ResNet
from .t2t_vit import T2TViT
from .wide_resnet import WideResNet

__all__ = [
    'CifarMobileNetV2',
    'CifarResNet',
    'CifarShuffleNetV1',
    'CifarShuffleNetV2',
    'CifarVGG',
    'ClsDataSample',
    'DeiT',
    'DistilledHead',
    'Features',
    'ImageClassifier',
    'LinearHead',
    'MobileNetV1',
    'MobileNetV2',
    'Network',
    'PVT',
    'PiT',
    'ResNet',
    'T2TViT',
    'WideResNet',
]
