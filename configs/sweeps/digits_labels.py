# A quarter of the labels, and what a teacher makes of the other images.
_base_ = '../_base_/tables_of_digits.py'
title = 'More images than labels, on the digits with Faster R-CNN'
note = (
    '440 images with labels, and 1,320 that have none and were never seen by '
    'the teacher: *annotated* by it (`rankkd pseudo-label`, with the '
    'threshold of the best F1 on the validation set), or *unlabelled*, where '
    'distillation alone counts. *All labelled*: the 1,760 images of the other '
    'tables, with the 440 among them. The teacher has learnt from all 2,000 '
    'labelled images, so it knows more than a teacher of the 440 would. 660 '
    'iterations in each row, of eight images, of which two are labelled on '
    'average in *and 1,320 unlabelled*; rows that say *14 a step* or *8 + 6* '
    'take fourteen, which is 1.75 times the work. Losses with their '
    'published weights, one validation of 1,000 images at the end. [More '
    'images than labels](../unlabelled-images.md) has the commands that make '
    'the data. A row that is missing has not run.'
)
seeds = (10, 11, 12)
_load = dict(type='LoadImageFromFile')
_pack = dict(type='mmdet.PackDetInputs')
_pipeline = [_load, dict(type='mmdet.LoadAnnotations', with_bbox=True), _pack]
_labelled = dict(
    type='mmdet_rankkd.DigitsDataset',
    data_root='data/digits/',
    ann_file='train.json',
    data_prefix=dict(img='train/'),
    indices=440,
    pipeline=_pipeline,
)
_annotated = dict(
    _labelled,
    data_root='data/digits_more/',
    ann_file='pseudo.json',
    data_prefix=dict(img='more/'),
    indices=1320,
)
_unlabelled = dict(
    type='mmdet_rankkd.UnlabelledDataset',
    data_prefix=dict(img='data/digits_more/more/'),
    indices=1320,
    pipeline=[_load, _pack],
)


def _from(dataset):
    return {'train_dataloader.dataset': dict(_delete_=True, **dataset)}


def _of(*datasets):
    return _from(
        dict(
            type='mmdet.ConcatDataset',
            datasets=list(datasets),
            ignore_keys=['classes', 'palette'],
        )
    )


def _times(times):
    return dict(type='RepeatDataset', times=times, dataset=_labelled)


_blank = {'model.unlabelled': True}
# As many iterations an epoch of fourteen images.
_fourteen = {'train_dataloader.batch_size': 14}
_few = _from(_times(4))
_few_of_fourteen = {**_from(_times(7)), **_fourteen}
_with_annotated = _of(_labelled, _annotated)
_with_unlabelled = {**_of(_labelled, _unlabelled), **_blank}
_annotated_on_top = {**_of(_times(4), _annotated), **_fourteen}
_unlabelled_on_top = {**_of(_times(4), _unlabelled), **_fourteen, **_blank}
rows = {
    'student alone, 440 labelled': dict(method='alone', options=_few),
    'student alone, and 1,320 annotated': dict(
        method='alone',
        options=_with_annotated,
        against=['student alone, 440 labelled'],
    ),
    'student alone, all labelled': dict(
        method='alone', against=['student alone, and 1,320 annotated']
    ),
    'CWD + KD, 440 labelled': dict(
        method='cwd+kd',
        options=_few,
        against=['student alone, 440 labelled'],
    ),
    'CWD + KD, and 1,320 unlabelled': dict(
        method='cwd+kd',
        options=_with_unlabelled,
        against=['CWD + KD, 440 labelled'],
    ),
    'CWD + KD, and 1,320 annotated': dict(
        method='cwd+kd',
        options=_with_annotated,
        against=['CWD + KD, 440 labelled', 'CWD + KD, and 1,320 unlabelled'],
    ),
    'CWD + KD, all labelled': dict(
        method='cwd+kd', against=['CWD + KD, and 1,320 annotated']
    ),
    'CWD + KD, 440 labelled, 14 a step': dict(
        method='cwd+kd',
        options=_few_of_fourteen,
        against=['CWD + KD, 440 labelled'],
    ),
    'CWD + KD, 8 labelled + 6 unlabelled': dict(
        method='cwd+kd',
        options=_unlabelled_on_top,
        against=[
            'CWD + KD, 440 labelled, 14 a step',
            'CWD + KD, and 1,320 annotated',
        ],
    ),
    'CWD + KD, 8 labelled + 6 annotated': dict(
        method='cwd+kd',
        options=_annotated_on_top,
        against=[
            'CWD + KD, 440 labelled, 14 a step',
            'CWD + KD, 8 labelled + 6 unlabelled',
        ],
    ),
}
