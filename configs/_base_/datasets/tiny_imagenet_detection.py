# Twenty classes of Tiny-ImageNet: photographs of 64 x 64 pixels with one box
# each. `rankkd tiny-imagenet` writes the annotations.
dataset_type = 'mmdet.CocoDataset'
data_root = 'data/tiny-imagenet-200/'
metainfo = dict(
    classes=(
        'goldfish',
        'centipede',
        'black stork',
        'tabby',
        'walking stick',
        'bison',
        'academic gown',
        'beach wagon',
        'bucket',
        'Christmas stocking',
        'dumbbell',
        'iPod',
        'miniskirt',
        'pill bottle',
        'refrigerator',
        'sombrero',
        'teapot',
        'viaduct',
        'ice lolly',
        'meat loaf',
    )
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmdet.PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    # Changes nothing; sets the scale_factor that the RoI head asks for.
    dict(type='mmdet.Resize', scale=(64, 64), keep_ratio=True),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
    ),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='mmdet.AspectRatioBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/boxes_20_train.json',
        data_prefix=dict(img=''),
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/boxes_20_val.json',
        data_prefix=dict(img=''),
        metainfo=metainfo,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmdet.CocoMetric',
    ann_file=data_root + 'annotations/boxes_20_val.json',
    metric='bbox',
    classwise=False,
)
test_evaluator = val_evaluator
