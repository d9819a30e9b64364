from mmengine.config import read_base

from mmdet_rankkd.distillers import DistillDetector
from mmdet_rankkd.losses import KendallRankLoss, KLDivLoss
from mmdet_rankkd.recorders import RoILogits

with read_base():
    from .faster_rcnn_mobilenet_v2_fpn_1x_coco import *

# MMDetection's multi-scale 3x ResNet-50 (39.9 AP in its model zoo).
teacher = dict(
    config='mmdet::faster_rcnn/faster-rcnn_r50-caffe_fpn_ms-3x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/'
    'faster_rcnn_r50_caffe_fpn_mstrain_3x_coco/faster_rcnn_r50_caffe_fpn_'
    'mstrain_3x_coco_20210526_095054-1f77628b.pth',
)
model = dict(
    type=DistillDetector,
    student=model,
    teacher=teacher,
    logits=dict(type=RoILogits),
    losses=[
        dict(type=KLDivLoss, temperature=1.0, loss_weight=1.0),
        dict(type=KendallRankLoss, k=1.0, loss_weight=1.0),
    ],
)
