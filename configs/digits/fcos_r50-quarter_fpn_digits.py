_base_ = [
    '../_base_/models/fcos_r50-quarter_fpn.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/digits_3e.py',
    'mmdet::_base_/default_runtime.py',
]
# Backbone and FPN of the shipped Faster R-CNN; the head starts from scratch.
load_from = '{{ fileDirname }}/faster-rcnn_r50-quarter_fpn_digits.pth'
