# The student: one thin block a stage and a stem of stride 4.
_base_ = [
    '../_base_/datasets/digits_classification.py',
    '../_base_/schedules/digits_cls_20e.py',
    '../_base_/cls_runtime.py',
]
model = dict(
    type='mmdet_rankkd.ImageClassifier',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='mmdet_rankkd.CifarResNet',
        arch=(16, (16, 32, 64), (1, 1, 1)),
        stem_stride=4,
    ),
    head=dict(type='mmdet_rankkd.LinearHead', num_classes=80),
)
