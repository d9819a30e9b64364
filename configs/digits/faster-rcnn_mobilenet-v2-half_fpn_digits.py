_base_ = [
    '../_base_/models/faster-rcnn_mobilenet-v2-half_fpn.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/digits_3e.py',
    '../_base_/teachers/teacher_r50-quarter_digits.py',
    'mmdet::_base_/default_runtime.py',
]
# 220 iterations an epoch: all the demo's trainings fit into ten minutes.
train_dataloader = dict(dataset=dict(indices=1760))
# The teacher only watches: tau between the two is logged at each validation.
custom_hooks = [
    dict(type='mmdet_rankkd.TauHook', teacher=_base_.teacher, max_batches=10)
]
