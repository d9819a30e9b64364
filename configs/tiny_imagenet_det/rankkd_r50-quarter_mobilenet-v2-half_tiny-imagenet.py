_base_ = './kd_r50-quarter_mobilenet-v2-half_tiny-imagenet.py'
model = dict(
    losses=[
        dict(type='mmdet_rankkd.KLDivLoss', temperature=1.0, loss_weight=1.0),
        dict(type='mmdet_rankkd.KendallRankLoss', k=1.0, loss_weight=1.0),
    ]
)
