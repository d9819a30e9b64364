# Backbone and neck of the digits students, for configs whose own model says
# `model = _base_.mobilenet_v2_half`.
mobilenet_v2_half = dict(
    backbone=dict(
        _delete_=True,
        type='mmdet_rankkd.MobileNetV2',
        widen_factor=0.5,
        out_indices=(1, 2, 4, 6),
        act_cfg=dict(type='ReLU6'),
    ),
    # Batch norm in the FPN: it is trained from scratch, and briefly.
    neck=dict(
        in_channels=[16, 16, 48, 160],
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
)
