_base_ = './cwd_gfl_r101_gfl_r50_fpn_1x_coco.py'
# The classes' part of BCKD alone; its boxes' part is not here.
model = dict(
    losses=[
        dict(
            type='mmdet_rankkd.BinaryKLDivLoss',
            beta=1.0,
            rows='per_object',
        )
    ]
)
