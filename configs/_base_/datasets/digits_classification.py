# Coloured handwritten digits at 32 x 32 pixels, drawn when first used.
data_preprocessor = dict(
    type='ImgDataPreprocessor', mean=[95.0] * 3, std=[60.0] * 3
)
train_pipeline = [
    dict(type='mmdet_rankkd.PadCrop', padding=2),
    dict(type='mmdet_rankkd.PackCls'),
]
test_pipeline = [dict(type='mmdet_rankkd.PackCls')]
# In place of train_pipeline for the methods that compare two views. Colours
# are classes here: the strong view changes geometry and light alone.
two_views_pipeline = [
    dict(
        type='mmdet_rankkd.TwoViews',
        weak=train_pipeline[:1],
        strong=[
            train_pipeline[0],
            dict(type='mmdet_rankkd.RandomCutout', ratio=0.4),
        ],
    ),
    train_pipeline[-1],
]
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmdet_rankkd.DigitsClassification',
        split='train',
        count=640,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=200,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmdet_rankkd.DigitsClassification',
        split='val',
        count=800,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
