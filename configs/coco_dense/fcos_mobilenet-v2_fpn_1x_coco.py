_base_ = [
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    '../_base_/models/mobilenet-v2.py',
]
model = _base_.mobilenet_v2
