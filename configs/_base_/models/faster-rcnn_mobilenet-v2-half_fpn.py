# The student of the digits set: half-width MobileNetV2, the rest as the
# teacher.
_base_ = './faster-rcnn_r50-quarter_fpn.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
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
