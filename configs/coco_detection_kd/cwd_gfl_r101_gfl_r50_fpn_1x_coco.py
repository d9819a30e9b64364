_base_ = '../coco_dense/kd_gfl_r101_gfl_r50_fpn_1x_coco.py'
model = dict(
    losses=[dict(type='mmdet_rankkd.CWDLoss', maps='classes', loss_weight=5)]
)
