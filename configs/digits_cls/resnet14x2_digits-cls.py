# The teacher: as ResNet-32x4, of half its width, with 2 blocks a stage and a
# stem of stride 4. It sees 8,000 images; its students, 640.
_base_ = [
    '../_base_/datasets/digits_classification.py',
    '../_base_/schedules/digits_cls_20e.py',
    '../_base_/cls_runtime.py',
]
model = dict(
    type='mmdet_rankkd.ImageClassifier',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='mmdet_rankkd.CifarResNet',
        arch=(16, (32, 64, 128), (2, 2, 2)),
        stem_stride=4,
    ),
    head=dict(type='mmdet_rankkd.LinearHead', num_classes=80),
)
train_dataloader = dict(dataset=dict(count=8000))
train_cfg = dict(max_epochs=15, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=5e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=15,
        T_max=15,
        eta_min_ratio=0.01,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
