# Trained by its config; configs/tiny_imagenet_det/README.md says how.
teacher = dict(
    config='mmdet_rankkd::tiny_imagenet_det/'
    'faster-rcnn_r50-quarter_fpn_tiny-imagenet.py',
    checkpoint='checkpoints/tiny_imagenet_det/'
    'faster-rcnn_r50-quarter_fpn_tiny-imagenet.pth',
)
