_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py'
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=dict(
        config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/'
        'faster_rcnn/faster_rcnn_r101_fpn_2x_coco/faster_rcnn_r101_fpn_2x_'
        'coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth',
    ),
    logits=dict(type='mmdet_rankkd.RoILogits'),
    losses=[dict(type='mmdet_rankkd.PKDLoss', loss_weight=6.0)],
)
