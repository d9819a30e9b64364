_base_ = '../coco_dense/kd_atss_r101_atss_r50_fpn_1x_coco.py'
model = dict(losses=[dict(type='mmdet_rankkd.CrossKDLoss', layer=3)])
