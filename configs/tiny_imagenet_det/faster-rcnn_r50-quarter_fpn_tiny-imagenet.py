# The teacher, trained for longer than its students.
_base_ = [
    '../_base_/models/faster-rcnn_r50-quarter_fpn.py',
    '../_base_/models/tiny-imagenet_heads.py',
    '../_base_/datasets/tiny_imagenet_detection.py',
    '../_base_/schedules/tiny_imagenet_det_3e.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    _base_.tiny_imagenet_heads,
    backbone=dict(
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            checkpoint='checkpoints/tiny_imagenet_det/r50-quarter.pth',
            prefix='backbone.',
        )
    ),
)
train_cfg = dict(max_epochs=8, val_interval=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=8,
        T_max=8,
        eta_min_ratio=0.01,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
