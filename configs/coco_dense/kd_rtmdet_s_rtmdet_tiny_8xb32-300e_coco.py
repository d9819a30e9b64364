_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=dict(
        config='mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v3.0/rtmdet/'
        'rtmdet_s_8xb32-300e_coco/'
        'rtmdet_s_8xb32-300e_coco_20220905_161602-387a891e.pth',
    ),
    logits=dict(type='mmdet_rankkd.DenseLogits'),
    losses=[dict(type='mmdet_rankkd.BinaryKLDivLoss', loss_weight=1.0)],
)
