# CIFAR-100 at 32 x 32 pixels, RGB, with the augmentation of mdistiller.
data_preprocessor = dict(
    type='ImgDataPreprocessor',
    mean=[129.31, 124.11, 112.40],
    std=[68.21, 65.41, 70.41],
)
train_pipeline = [
    dict(type='mmdet_rankkd.PadCrop', padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmdet_rankkd.PackCls'),
]
test_pipeline = [dict(type='mmdet_rankkd.PackCls')]
# In place of train_pipeline for the methods that compare two views.
two_views_pipeline = [
    dict(
        type='mmdet_rankkd.TwoViews',
        weak=train_pipeline[:2],
        strong=[
            *train_pipeline[:2],
            dict(type='mmdet_rankkd.RandAugmentPIL', policy='uniform'),
            dict(type='mmdet_rankkd.RandomCutout'),
        ],
    ),
    train_pipeline[-1],
]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmdet_rankkd.CIFAR100',
        data_root='data/cifar100',
        split='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmdet_rankkd.CIFAR100',
        data_root='data/cifar100',
        split='test',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
