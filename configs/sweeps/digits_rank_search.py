# All settings of the ranking loss, beside KD, DKD and LSKD.
_base_ = '../_base_/tables_of_digits.py'
title = 'Settings of the ranking loss on the digits, Faster R-CNN'
note = (
    'The ranking loss beside KD on foreground rows with T = 3, DKD with '
    'T = 3 and LSKD, on the seeds of [the search](digits_search.md), the same '
    'settings beside each. They are on foreground rows without the background '
    'column, with weight 1, k = 1, form 1 and all classes, in the whole '
    'training, but for what a row says. A row that is missing has not run.'
)
seeds = (0, 1, 2, 3, 4)
_chosen = dict(rows='foreground', background=False)
_settings = {
    'as said': _chosen,
    'with the background column': dict(rows='foreground'),
    'all rows and columns': dict(),
    'rows by confidence': dict(rows='confidence', background=False),
    **{
        f'{key} = {value:g}': dict(_chosen, **{argument: value})
        for key, argument, values in (
            ('weight', 'loss_weight', (0.3, 3)),
            ('k', 'k', (0.5, 2, 4)),
            ('form', 'form', (2, 3)),
        )
        for value in values
    },
    **{
        f'{channels} 50 %': dict(_chosen, channels=channels, percent=50.0)
        for channels in ('top', 'min')
    },
    # 660 iterations in all.
    **{
        when: dict(_chosen, schedule=dict(by_epoch=False, **schedule))
        for when, schedule in (
            ('first half', dict(end=330)),
            ('second half', dict(begin=330)),
            ('warm-up', dict(warmup=330)),
        )
    },
}
_besides = {
    'KD': (
        'kd',
        dict(KLDivLoss=dict(rows='foreground', temperature=3)),
    ),
    'DKD': ('dkd', dict(DKDLoss=dict(temperature=3))),
    'LSKD': ('lskd', dict()),
}
rows = {}
for _name, (_method, _losses) in _besides.items():
    rows[_name] = dict(method=_method, set=_losses)
    for _setting, _arguments in _settings.items():
        rows[f'{_name} + ranking, {_setting}'] = dict(
            method=f'{_method}+rank',
            set=dict(_losses, KendallRankLoss=_arguments),
            against=[_name],
        )
