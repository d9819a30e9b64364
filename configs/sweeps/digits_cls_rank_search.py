# Ranking beside the best settings that digits_cls_search found of KD, LSKD and
# DKD, on its seeds; digits_cls_report takes the best on others.
title = 'Search of the ranking loss on digits in colours, top-1 (%)'
cells = 'digits_cls'
note = (
    'Twelve settings of the ranking loss beside KD, LSKD and DKD at the best '
    'of the twelve that [the search](digits_cls_search.md) tried of each, on '
    'its seeds. So a method with ranking has had twice the effort of the '
    'method alone. A row that is missing has not run.'
)
decimals = 1
seeds = (0, 1, 2)
columns = {
    'top-1': dict(
        pair='resnet14x2_resnet8',
        options={
            'train_cfg.val_interval': 20,
            'val_dataloader.dataset.count': 1600,
        },
    )
}
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
}
rows = {}
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
