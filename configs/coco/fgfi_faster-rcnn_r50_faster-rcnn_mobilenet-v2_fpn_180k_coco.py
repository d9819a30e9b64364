_base_ = './kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_180k_coco.py'
# Weight, factor and start are those of the published code; levels are ours.
model = dict(
    losses=[
        dict(
            type='mmdet_rankkd.FGFILoss',
            levels=(0, 1, 2, 3, 4),
            mask_factor=0.5,
            loss_weight=0.01,
            schedule=dict(begin=400, by_epoch=False),
        )
    ]
)
