# Ranking beside the best settings that digits_cls_search found of KD, LSKD,
# DKD and NKD, on its seeds; digits_cls_report takes the best on others.
_base_ = './digits_cls_search.py'
title = 'Search of the ranking loss on digits in colours, top-1 (%)'
note = (
    'Twelve settings of the ranking loss beside each method at the best '
    'of the twelve that [the search](digits_cls_search.md) tried of each, on '
    'its seeds. So a method with ranking has had twice the effort of the '
    'method alone. A row that is missing has not run.'
)
# Weights up to about that of the method, which is the paper's choice.
_chosen = {
    'KD': (
        'kd',
        dict(KLDivLoss=dict(temperature=4, loss_weight=2.7)),
        [0.3, 0.9, 2.7, 9.0],
    ),
    'LSKD': (
        'lskd',
        dict(KLDivLoss=dict(temperature=2, loss_weight=27.0)),
        [0.9, 2.7, 9.0, 27.0],
    ),
    'DKD': (
        'dkd',
        dict(DKDLoss=dict(temperature=2, beta=8.0)),
        [0.3, 0.9, 2.7, 9.0],
    ),
    'NKD': (
        'nkd',
        dict(NKDLoss=dict(temperature=2, gamma=7.0)),
        [0.3, 0.9, 2.7, 9.0],
    ),
}
rows = dict(_delete_=True)
for _title, (_method, _losses, _weights) in _chosen.items():
    rows[_title] = dict(method=_method, set=_losses)
    _ranking = {
        'KendallRankLoss.k': [0.5, 1.0, 2.0],
        'KendallRankLoss.loss_weight': _weights,
    }
    rows[f'{_title} + ranking'] = dict(
        method=f'{_method}+rank',
        set=_losses,
        grid=dict(set=_ranking),
        against=[_title],
    )
