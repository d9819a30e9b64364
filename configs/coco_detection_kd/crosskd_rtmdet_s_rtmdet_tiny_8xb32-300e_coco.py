_base_ = '../coco_dense/kd_rtmdet_s_rtmdet_tiny_8xb32-300e_coco.py'
# Towers of two convolutions, so that one is left to the teacher.
model = dict(losses=[dict(type='mmdet_rankkd.CrossKDLoss', layer=1)])
