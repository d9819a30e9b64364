_base_ = [
    '../_base_/datasets/cifar100_cls.py',
    '../_base_/schedules/cifar100_240e.py',
    '../_base_/cls_runtime.py',
]
model = dict(
    type='mmdet_rankkd.ImageClassifier',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(type='mmdet_rankkd.CifarResNet', arch='resnet32x4'),
    head=dict(type='mmdet_rankkd.LinearHead', num_classes=100),
)
