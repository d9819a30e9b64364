# The teacher sees exactly twice the student's pixels a side; its levels of
# strides 16 to 128 then have the places of the student's of 8 to 64.
_base_ = './gfl_mobilenet-v2-640_fpn_1x_coco.py'
two = dict(type='mmdet_rankkd.TwoResolutions', scale=2)
train_pipeline = [dict(pipeline=_base_.train_pipeline, **two)]
test_pipeline = [dict(pipeline=_base_.test_pipeline, **two)]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
teacher = dict(
    config='mmdet::gfl/gfl_r50_fpn_ms-2x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/gfl/'
    'gfl_r50_fpn_mstrain_2x_coco/'
    'gfl_r50_fpn_mstrain_2x_coco_20200629_213802-37bb1edc.pth',
    input_scale=2,
)
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=teacher,
    logits=dict(type='mmdet_rankkd.DenseLogits'),
    losses=[
        dict(type='mmdet_rankkd.BinaryKLDivLoss', loss_weight=1.0),
        dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=1.0),
    ],
)
