_base_ = './cwd_gfl_r101_gfl_r50_fpn_1x_coco.py'
model = dict(
    losses=[
        dict(type='mmdet_rankkd.CrossKDLoss', layer=3),
        dict(
            type='mmdet_rankkd.PKDLoss',
            levels=(0, 1, 2, 3, 4),
            loss_weight=6.0,
        ),
    ]
)
