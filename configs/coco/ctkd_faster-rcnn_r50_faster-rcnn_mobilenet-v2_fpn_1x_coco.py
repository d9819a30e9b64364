_base_ = './kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_1x_coco.py'
# The gradient of the temperature is reversed over a 24th of the training, as
# on CIFAR-100; the paper does not say.
model = dict(
    losses=[
        dict(
            type='mmdet_rankkd.CTKDLoss',
            length=3700,
            by_epoch=False,
            loss_weight=1.0,
        )
    ]
)
