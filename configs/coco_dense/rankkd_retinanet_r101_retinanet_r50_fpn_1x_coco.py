_base_ = './kd_retinanet_r101_retinanet_r50_fpn_1x_coco.py'
model = dict(
    losses=[
        dict(type='mmdet_rankkd.BinaryKLDivLoss', loss_weight=1.0),
        dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=1.0),
    ]
)
