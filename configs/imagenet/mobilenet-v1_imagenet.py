_base_ = [
    '../_base_/datasets/imagenet_cls.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/cls_runtime.py',
]
model = dict(
    type='mmdet_rankkd.ImageClassifier',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(type='mmdet_rankkd.MobileNetV1'),
    head=dict(type='mmdet_rankkd.LinearHead', num_classes=1000),
)
