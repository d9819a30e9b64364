# The student of the digits set: half-width MobileNetV2, the rest as the
# teacher.
_base_ = ['./faster-rcnn_r50-quarter_fpn.py', './mobilenet-v2-half.py']
model = _base_.mobilenet_v2_half
