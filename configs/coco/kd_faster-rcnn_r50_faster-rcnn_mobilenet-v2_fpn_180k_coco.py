_base_ = [
    './faster-rcnn_mobilenet-v2_fpn_180k_coco.py',
    '../_base_/teachers/teacher_r50-caffe_coco.py',
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
