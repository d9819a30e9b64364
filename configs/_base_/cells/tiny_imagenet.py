# Photographs of 64 x 64 pixels, with the methods of the digits at their
# settings for Faster R-CNN.
_base_ = './digits.py'
student = (
    'mmdet_rankkd::tiny_imagenet_det/{}_mobilenet-v2-half_fpn_tiny-imagenet.py'
)
teacher = dict(
    config='mmdet_rankkd::tiny_imagenet_det/'
    '{}_r50-quarter_fpn_tiny-imagenet.py',
    checkpoint='checkpoints/tiny_imagenet_det/'
    '{}_r50-quarter_fpn_tiny-imagenet.pth',
)
make_digits = None
options = {
    '_delete_': True,
    'default_hooks.logger.interval': 25,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
}
pairs = {'_delete_': True, 'faster-rcnn': dict()}
