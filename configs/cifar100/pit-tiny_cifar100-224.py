_base_ = [
    '../_base_/datasets/cifar100_cls_224.py',
    '../_base_/schedules/cifar100_vit_300e.py',
    '../_base_/cls_runtime.py',
]
model = dict(
    type='mmdet_rankkd.ImageClassifier',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(type='mmdet_rankkd.PiT'),
    head=dict(type='mmdet_rankkd.LinearHead', num_classes=100),
)
