_base_ = [
    '../_base_/models/faster-rcnn_mobilenet-v2-half_fpn.py',
    '../_base_/models/tiny-imagenet_heads.py',
    '../_base_/datasets/tiny_imagenet_detection.py',
    '../_base_/schedules/tiny_imagenet_det_3e.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    _base_.tiny_imagenet_heads,
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/tiny_imagenet_det/mobilenet-v2-half.pth',
            prefix='backbone.',
        )
    ),
)
