_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=dict(
        config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/gfl/'
        'gfl_r101_fpn_mstrain_2x_coco/'
        'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth',
    ),
    logits=dict(type='mmdet_rankkd.DenseLogits'),
    losses=[dict(type='mmdet_rankkd.CWDLoss', maps='classes', loss_weight=5)],
)
