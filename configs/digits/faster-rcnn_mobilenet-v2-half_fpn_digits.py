_base_ = [
    '../_base_/models/faster-rcnn_mobilenet-v2-half_fpn.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/digits_3e.py',
    '../_base_/teachers/teacher_r50-quarter_digits.py',
    'mmdet::_base_/default_runtime.py',
]
# The teacher only watches: tau between the two is logged at each validation.
custom_hooks = [dict(type='mmdet_rankkd.TauHook', teacher=_base_.teacher)]
