# The 180 classes of Tiny-ImageNet that no detector sees, to train backbones
# on. `rankkd tiny-imagenet` writes the lists.
data_preprocessor = dict(
    type='ImgDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet_rankkd.PadCrop', padding=8),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmdet_rankkd.PackCls'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet_rankkd.PackCls'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmdet_rankkd.ImageNet',
        data_root='data/tiny-imagenet-200',
        data_prefix=dict(img=''),
        ann_file='annotations/other_180_train.txt',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmdet_rankkd.ImageNet',
        data_root='data/tiny-imagenet-200',
        data_prefix=dict(img=''),
        ann_file='annotations/other_180_val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
