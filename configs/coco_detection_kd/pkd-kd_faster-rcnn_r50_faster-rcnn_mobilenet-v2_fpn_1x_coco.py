_base_ = '../coco/kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_1x_coco.py'
model = dict(
    losses=[
        dict(type='mmdet_rankkd.PKDLoss', loss_weight=6.0),
        dict(type='mmdet_rankkd.KLDivLoss'),
    ]
)
