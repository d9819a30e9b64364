# KD on 400 labelled images and 1,360 that the teacher has annotated; see
# docs/unlabelled-images.md for what makes the two files.
_base_ = './kd_r50-quarter_mobilenet-v2-half_digits.py'
labelled = dict(
    type='mmdet_rankkd.DigitsDataset',
    data_root='data/digits/',
    ann_file='train.json',
    data_prefix=dict(img='train/'),
    indices=400,
    pipeline=_base_.train_pipeline,
)
annotated = dict(
    type='mmdet_rankkd.DigitsDataset',
    data_root='data/digits_more/',
    ann_file='pseudo.json',
    data_prefix=dict(img='more/'),
    pipeline=_base_.train_pipeline,
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmdet.ConcatDataset',
        datasets=[labelled, annotated],
    )
)
