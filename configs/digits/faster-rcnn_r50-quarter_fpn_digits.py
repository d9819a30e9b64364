# The teacher of the digits set, trained for longer than its students.
_base_ = [
    '../_base_/models/faster-rcnn_r50-quarter_fpn.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/digits_3e.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    train_cfg=dict(rpn_proposal=dict(nms_pre=100, max_per_img=100)),
    test_cfg=dict(rpn=dict(nms_pre=100)),
)
train_cfg = dict(max_epochs=12, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3, fused=False))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=12,
        T_max=12,
        eta_min_ratio=0.01,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
