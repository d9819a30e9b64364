# KD on 400 labelled images and 1,360 without annotations, on which nothing
# but distillation counts; see docs/unlabelled-images.md. Eight images of a
# step are labelled on average, and the learning rate is as for those alone.
_base_ = './kd_r50-quarter_mobilenet-v2-half_digits.py'
model = dict(unlabelled=True)
known = dict(_base_.train_dataloader.dataset, indices=400)
unlabelled = dict(
    type='mmdet_rankkd.UnlabelledDataset',
    data_prefix=dict(img='data/digits_more/more/'),
    pipeline=[_base_.train_pipeline[0], _base_.train_pipeline[-1]],
)
dataset = dict(
    _delete_=True,
    type='mmdet.ConcatDataset',
    datasets=[dict(type='RepeatDataset', times=4, dataset=known), unlabelled],
    ignore_keys=['classes', 'palette'],
)
train_dataloader = dict(batch_size=15, dataset=dataset)
auto_scale_lr = dict(base_batch_size=15)
