_base_ = './kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_180k_coco.py'
# Not in the paper's table; the settings are mdistiller's for COCO.
model = dict(
    losses=[
        dict(
            type='mmdet_rankkd.DKDLoss',
            alpha=1.0,
            beta=0.25,
            temperature=1.0,
            loss_weight=1.0,
        )
    ]
)
