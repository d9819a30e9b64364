_base_ = [
    '../_base_/models/faster-rcnn_mobilenet-v2_fpn.py',
    '../_base_/recipes/coco_1x.py',
]
