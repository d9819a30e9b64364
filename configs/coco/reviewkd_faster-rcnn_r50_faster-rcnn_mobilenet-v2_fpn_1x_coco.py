_base_ = './kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_1x_coco.py'
# p2 to p6 with weight 2, as in mdistiller's detection baselines.
model = dict(
    losses=[
        dict(
            type='mmdet_rankkd.ReviewKDLoss',
            first=0,
            pooled=False,
            max_mid=256,
            loss_weight=2.0,
        )
    ]
)
