# Backbone, neck and preprocessing of the COCO students, for configs whose own
# model says `model = _base_.mobilenet_v2`. Strides 4 to 32 with 24, 32, 96 and
# 320 channels, as in the detection baselines of mdistiller.
mobilenet_v2 = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        _delete_=True,
        type='mmdet_rankkd.MobileNetV2',
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
