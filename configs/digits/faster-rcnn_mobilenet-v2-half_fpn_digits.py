_base_ = [
    '../_base_/models/faster-rcnn_mobilenet-v2-half_fpn_digits.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits.py',
    'mmdet::_base_/default_runtime.py',
]
