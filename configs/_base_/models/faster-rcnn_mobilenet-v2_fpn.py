# Faster R-CNN with FPN on MobileNetV2: strides 4 to 32 with 24, 32, 96 and
# 320 channels, as in the detection baselines of mdistiller.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 6),
        act_cfg=dict(type='ReLU6'),
        # Frozen batch norm; all convolutions train.
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained', checkpoint='open-mmlab://mmdet/mobilenet_v2'
        ),
    ),
    neck=dict(in_channels=[24, 32, 96, 320]),
)
# MMDetection's MobileNetV2 also runs its last, unused 1280-channel layer.
find_unused_parameters = True
