_base_ = './kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_180k_coco.py'
# Hints on all five levels of the FPN; levels and weight are not in the paper.
model = dict(
    losses=[
        dict(
            type='mmdet_rankkd.FitNetLoss',
            levels=(0, 1, 2, 3, 4),
            loss_weight=1.0,
        )
    ]
)
