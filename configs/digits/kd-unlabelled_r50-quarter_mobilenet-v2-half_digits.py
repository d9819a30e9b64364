# KD on 400 labelled images and 1,360 without annotations, on which nothing
# but distillation counts; see docs/unlabelled-images.md.
_base_ = './kd_r50-quarter_mobilenet-v2-half_digits.py'
model = dict(unlabelled=True)
labelled = dict(
    type='mmdet_rankkd.DigitsDataset',
    data_root='data/digits/',
    ann_file='train.json',
    data_prefix=dict(img='train/'),
    indices=400,
    pipeline=_base_.train_pipeline,
)
unlabelled = dict(
    type='mmdet_rankkd.UnlabelledDataset',
    data_root='data/digits_more/',
    data_prefix=dict(img='more/'),
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='mmdet.PackDetInputs'),
    ],
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmdet.ConcatDataset',
        datasets=[labelled, unlabelled],
        # The names of the classes are those of the first.
        ignore_keys=['classes', 'palette'],
    )
)
