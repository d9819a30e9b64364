# Faster R-CNN with FPN on MobileNetV2.
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', './mobilenet-v2.py']
model = _base_.mobilenet_v2
