# Shipped with the configs; `make demo-teacher` trains it.
teacher = dict(
    config='{{ fileDirname }}/../../digits/'
    'faster-rcnn_r50-quarter_fpn_digits.py',
    checkpoint='{{ fileDirname }}/../../digits/'
    'faster-rcnn_r50-quarter_fpn_digits.pth',
)
