_base_ = [
    './faster-rcnn_mobilenet-v2-half_fpn_tiny-imagenet.py',
    '../_base_/teachers/teacher_r50-quarter_tiny-imagenet.py',
]
model = dict(
    _delete_=True,
    type='mmdet_rankkd.DistillDetector',
    student=_base_.model,
    teacher=_base_.teacher,
    logits=dict(type='mmdet_rankkd.RoILogits'),
    losses=[
        dict(type='mmdet_rankkd.KLDivLoss', temperature=1.0, loss_weight=1.0)
    ],
)
