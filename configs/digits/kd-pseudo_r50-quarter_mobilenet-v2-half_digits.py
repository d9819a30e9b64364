# KD on 400 labelled images and 1,360 that the teacher has annotated; see
# docs/unlabelled-images.md for what makes the two files.
_base_ = './kd_r50-quarter_mobilenet-v2-half_digits.py'
labelled = dict(_base_.train_dataloader.dataset, indices=400)
annotated = dict(
    _base_.train_dataloader.dataset,
    data_root='data/digits_more/',
    ann_file='pseudo.json',
    data_prefix=dict(img='more/'),
    indices=None,
)
dataset = dict(
    _delete_=True, type='mmdet.ConcatDataset', datasets=[labelled, annotated]
)
train_dataloader = dict(dataset=dataset)
