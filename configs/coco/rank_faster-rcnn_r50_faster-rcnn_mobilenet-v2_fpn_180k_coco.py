_base_ = './kd_faster-rcnn_r50_faster-rcnn_mobilenet-v2_fpn_180k_coco.py'
model = dict(
    losses=[dict(type='mmdet_rankkd.KendallRankLoss', k=1.0, loss_weight=1.0)]
)
