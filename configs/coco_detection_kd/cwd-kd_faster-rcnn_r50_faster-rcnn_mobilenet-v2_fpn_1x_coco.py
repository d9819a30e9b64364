_base_ = '../coco/kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_1x_coco.py'
model = dict(
    losses=[
        dict(type='mmdet_rankkd.CWDLoss', loss_weight=10.0),
        dict(type='mmdet_rankkd.KLDivLoss'),
    ]
)
