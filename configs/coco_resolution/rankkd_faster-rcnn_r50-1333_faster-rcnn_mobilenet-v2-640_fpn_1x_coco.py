# The teacher sees 1333 x 800 pixels, as it was trained.
_base_ = [
    './faster-rcnn_mobilenet-v2-640_fpn_1x_coco.py',
    '../_base_/teachers/teacher_r50-caffe_coco.py',
]
two = dict(
    type='mmdet_rankkd.TwoResolutions',
    teacher=dict(type='Resize', scale=(1333, 800), keep_ratio=True),
)
train_pipeline = [dict(pipeline=_base_.train_pipeline, **two)]
test_pipeline = [dict(pipeline=_base_.test_pipeline, **two)]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=_base_.teacher,
    logits=dict(type='mmdet_rankkd.RoILogits'),
    losses=[
        dict(type='mmdet_rankkd.KLDivLoss', loss_weight=1.0),
        dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=1.0),
    ],
)
