# What digits_cls_search and digits_cls_rank_search chose on their seeds, on
# seeds that they did not see.
_base_ = './digits_cls_rank_search.py'
title = 'Ranking beside tuned methods, on digits in colours, top-1 (%)'
note = (
    'ResNet-14x2 to ResNet-8, 640 training images, 20 epochs, one validation '
    'of 1,600 images at the end, on seeds that took no part in the choice of '
    'settings. KD, LSKD, DKD, NKD and ranking by itself are at the best of '
    'the twelve settings that [the search](digits_cls_search.md) tried of '
    'each; ranking beside another at the best of the twelve of [its '
    'own](digits_cls_rank_search.md). *As in the recipe*: T = 4, weights 0.9, '
    'k = 1. A row that is missing has not run.'
)
seeds = tuple(range(10, 20))
_kd, _lskd, _dkd, _nkd = (
    _base_.rows[_title]['set'] for _title in ('KD', 'LSKD', 'DKD', 'NKD')
)
# The best beside KD and beside DKD alike.
_rank = dict(KendallRankLoss=dict(k=1.0, loss_weight=9.0))
# The best beside LSKD and beside NKD alike.
_small = dict(KendallRankLoss=dict(k=2.0, loss_weight=0.9))
rows = {
    '_delete_': True,
    'teacher': dict(method='teacher'),
    'student alone': dict(method='alone'),
    'KD, as in the recipe': dict(method='kd', against=['student alone']),
    'KD + ranking, as in the recipe': dict(
        method='kd+rank', against=['KD, as in the recipe', 'KD']
    ),
    'KD': dict(method='kd', set=_kd, against=['KD, as in the recipe']),
    'KD + ranking': dict(
        method='kd+rank',
        set=dict(_kd, **_rank),
        against=['KD', 'KD, as in the recipe'],
    ),
    'ranking': dict(
        method='rank',
        set=dict(KendallRankLoss=dict(k=0.5, loss_weight=9.0)),
        against=['student alone', 'KD', 'KD + ranking'],
    ),
    'LSKD': dict(
        method='lskd', set=_lskd, against=['KD', 'KD + ranking', 'ranking']
    ),
    'LSKD + ranking': dict(
        method='lskd+rank',
        set=dict(_lskd, **_small),
        against=['LSKD'],
    ),
    'DKD': dict(
        method='dkd',
        set=_dkd,
        against=['KD', 'KD + ranking', 'LSKD', 'ranking'],
    ),
    'DKD + ranking': dict(
        method='dkd+rank',
        set=dict(_dkd, **_rank),
        against=['DKD'],
    ),
    'NKD': dict(
        method='nkd', set=_nkd, against=['KD', 'LSKD', 'DKD', 'ranking']
    ),
    'NKD + ranking': dict(
        method='nkd+rank',
        set=dict(_nkd, **_small),
        against=['NKD'],
    ),
}
