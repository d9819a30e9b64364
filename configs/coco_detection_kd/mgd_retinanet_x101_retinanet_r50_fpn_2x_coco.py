_base_ = 'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py'
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=dict(
        config='mmdet::retinanet/'
        'retinanet_x101-64x4d_fpn_ms-640-800-3x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/'
        'retinanet_x101_64x4d_fpn_mstrain_3x_coco/retinanet_x101_64x4d_fpn_'
        'mstrain_3x_coco_20210719_051838-022c2187.pth',
    ),
    logits=dict(type='mmdet_rankkd.DenseLogits'),
    losses=[dict(type='mmdet_rankkd.MGDLoss', loss_weight=2e-5)],
)
