_base_ = 'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py'
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=dict(
        config='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/'
        'retinanet_r101_fpn_2x_coco/'
        'retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth',
    ),
    logits=dict(type='mmdet_rankkd.DenseLogits'),
    losses=[dict(type='mmdet_rankkd.CrossKDLoss', layer=3)],
)
