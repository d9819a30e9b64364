_base_ = [
    'mmdet::atss/atss_r50_fpn_1x_coco.py',
    '../_base_/models/mobilenet-v2.py',
]
model = _base_.mobilenet_v2
