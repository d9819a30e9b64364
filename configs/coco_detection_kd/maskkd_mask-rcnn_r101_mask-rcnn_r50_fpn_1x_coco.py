_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
losses = [dict(type='mmdet_rankkd.KLDivLoss')]
losses.append(dict(type='mmdet_rankkd.MaskKDLoss'))
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=dict(
        config='mmdet::mask_rcnn/mask-rcnn_r101_fpn_2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/'
        'mask_rcnn_r101_fpn_2x_coco/mask_rcnn_r101_fpn_2x_coco_bbox_mAP-'
        '0.408__segm_mAP-0.366_20200505_071027-14b391c7.pth',
    ),
    logits=dict(type='mmdet_rankkd.RoILogits'),
    losses=losses,
)
