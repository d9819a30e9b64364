_base_ = [
    '../_base_/datasets/tiny_imagenet_cls.py',
    '../_base_/schedules/tiny_imagenet_cls_6e.py',
    '../_base_/cls_runtime.py',
]
model = dict(
    type='mmdet_rankkd.ImageClassifier',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='mmdet.ResNet',
        depth=50,
        base_channels=16,
        stem_channels=16,
        norm_eval=False,
        style='pytorch',
    ),
    head=dict(
        type='mmdet_rankkd.LinearHead', num_classes=180, in_channels=512
    ),
)
