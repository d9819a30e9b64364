_base_ = ['./gfl_r50-quarter_fpn.py', './mobilenet-v2-half.py']
model = _base_.mobilenet_v2_half
