_base_ = [
    '../_base_/datasets/tiny_imagenet_cls.py',
    '../_base_/schedules/tiny_imagenet_cls_6e.py',
    '../_base_/cls_runtime.py',
    '../_base_/models/mobilenet-v2-half.py',
]
_base_.mobilenet_v2_half.backbone.pop('_delete_')
model = dict(
    type='mmdet_rankkd.ImageClassifier',
    data_preprocessor=_base_.data_preprocessor,
    backbone=_base_.mobilenet_v2_half.backbone,
    head=dict(
        type='mmdet_rankkd.LinearHead', num_classes=180, in_channels=160
    ),
)
