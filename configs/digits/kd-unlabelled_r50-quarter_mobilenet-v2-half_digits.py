# KD on 400 labelled images and 1,360 without annotations, on which nothing
# but distillation counts; see docs/unlabelled-images.md.
_base_ = './kd_r50-quarter_mobilenet-v2-half_digits.py'
model = dict(unlabelled=True)
labelled = dict(_base_.train_dataloader.dataset, indices=400)
unlabelled = dict(
    type='mmdet_rankkd.UnlabelledDataset',
    data_prefix=dict(img='data/digits_more/more/'),
    pipeline=[_base_.train_pipeline[0], _base_.train_pipeline[-1]],
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmdet.ConcatDataset',
        datasets=[labelled, unlabelled],
        ignore_keys=['classes', 'palette'],
    )
)
