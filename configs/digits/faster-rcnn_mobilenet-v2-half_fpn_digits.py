_base_ = [
    '../_base_/models/faster-rcnn_mobilenet-v2-half_fpn_digits.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits.py',
    '../_base_/teachers/faster-rcnn_r50-quarter_digits.py',
    'mmdet::_base_/default_runtime.py',
]
# The teacher only watches: tau between the two is logged at each validation.
custom_hooks = [dict(type='mmdet_rankkd.TauHook', teacher=_base_.teacher)]
