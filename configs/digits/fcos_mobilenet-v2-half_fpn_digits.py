_base_ = [
    '../_base_/models/fcos_mobilenet-v2-half_fpn.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/digits_3e.py',
    'mmdet::_base_/default_runtime.py',
]
