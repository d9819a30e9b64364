# Shipped with the configs; `make demo-teacher` trains it.
teacher = dict(
    config='mmdet_rankkd::digits/faster-rcnn_r50-quarter_fpn_digits.py',
    checkpoint='mmdet_rankkd::digits/faster-rcnn_r50-quarter_fpn_digits.pth',
)
