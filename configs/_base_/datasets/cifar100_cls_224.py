# CIFAR-100 enlarged to 224 x 224 pixels, augmented as timm does it, for
# vision transformers. Statistics are ImageNet's.
_base_ = './cifar100_cls.py'
data_preprocessor = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
)
train_pipeline = [
    dict(
        type='mmdet_rankkd.RandomResizedCrop',
        size=224,
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='mmdet_rankkd.RandAugmentPIL',
        policy='increasing',
        level=9,
        std=0.5,
        fill=(124, 116, 104),
    ),
    dict(type='mmdet_rankkd.RandomNoiseErasing', prob=0.25),
    dict(type='mmdet_rankkd.PackCls'),
]
test_pipeline = [
    dict(type='mmdet_rankkd.ResizeShort', size=224, interpolation='bicubic'),
    dict(type='mmdet_rankkd.PackCls'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    drop_last=True,
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=128, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
