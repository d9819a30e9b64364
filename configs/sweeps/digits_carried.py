# What was chosen for Faster R-CNN, unchanged on the dense detectors.
title = 'Settings of Faster R-CNN carried to dense detectors, on the digits'
cells = 'digits'
note = (
    'KD on foreground rows with T = 3, and ranking on foreground rows with '
    'weight 1, were chosen on Faster R-CNN, in [the search]'
    '(digits_search.md). Here they are taken **unchanged** to heads with a '
    'sigmoid, where KD is binary; these heads have no background column to '
    'leave out. DKD needs a softmax and cannot be carried. *As in the '
    "demo*: T = 1, all locations, weighted by the teacher's confidence. 660 "
    'iterations, and one validation, of 1,000 images, at the end.'
)
decimals = 1
seeds = (10, 11, 12)
_end = {'train_cfg.val_interval': 3}
columns = {
    title: dict(pair=pair, metric='AP', options=_end)
    for title, pair in (
        ('RetinaNet', 'retinanet'),
        ('FCOS', 'fcos'),
        ('ATSS', 'atss'),
        ('GFL', 'gfl'),
        ('RTMDet', 'rtmdet'),
    )
}
_kd = dict(BinaryKLDivLoss=dict(rows='foreground', temperature=3))
_rank = dict(KendallRankLoss=dict(rows='foreground', background=False))
rows = {
    'student alone': dict(method='alone'),
    'KD, as in the demo': dict(method='kd', against=['student alone']),
    'KD + ranking, as in the demo': dict(
        method='kd+rank', against=['KD, as in the demo']
    ),
    'KD': dict(
        method='kd',
        set=_kd,
        against=['student alone', 'KD, as in the demo'],
    ),
    'KD + ranking': dict(
        method='kd+rank', set={**_kd, **_rank}, against=['KD']
    ),
    'PKD': dict(method='pkd', against=['KD, as in the demo']),
    'PKD + ranking': dict(method='pkd+rank', against=['PKD']),
    'PKD + KD': dict(method='pkd+kd', against=['PKD']),
    'PKD + KD + ranking': dict(method='pkd+kd+rank', against=['PKD + KD']),
}
