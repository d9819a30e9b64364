_base_ = './kd_gfl_r50_gfl_mobilenet-v2_fpn_1x_coco.py'
model = dict(
    losses=[
        dict(type='mmdet_rankkd.BinaryKLDivLoss', loss_weight=1.0),
        dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=1.0),
    ]
)
