_base_ = './kd_retinanet_r50_retinanet_mobilenet-v2_fpn_1x_coco.py'
model = dict(
    losses=[
        dict(type='mmdet_rankkd.BinaryKLDivLoss', loss_weight=1.0),
        dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=1.0),
    ]
)
