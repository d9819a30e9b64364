# ImageNet at 224 x 224 pixels. 4 x 128 images a batch, as in the paper.
data_preprocessor = dict(
    type='ImgDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet_rankkd.RandomResizedCrop', size=224),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmdet_rankkd.PackCls'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet_rankkd.ResizeShort', size=256),
    dict(type='CenterCrop', crop_size=224),
    dict(type='mmdet_rankkd.PackCls'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmdet_rankkd.ImageNet',
        data_root='data/imagenet',
        data_prefix=dict(img='train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmdet_rankkd.ImageNet',
        data_root='data/imagenet',
        data_prefix=dict(img='val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
