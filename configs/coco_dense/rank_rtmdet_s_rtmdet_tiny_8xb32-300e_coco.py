_base_ = './kd_rtmdet_s_rtmdet_tiny_8xb32-300e_coco.py'
model = dict(
    losses=[dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=1.0)]
)
