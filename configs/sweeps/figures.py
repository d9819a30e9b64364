# What `rankkd figures` draws: the paper's figures, its Tables 6, 7 and 12, and
# initial weights, a long tail and cost, which it does not show.
title = 'Figures, on digits in colours, ResNet-14x2 to ResNet-8'
cells = 'digits_cls'
note = (
    'Behind the [figures](../figures.md). alpha is the weight of KL, beta '
    'that of the cross-entropy, gamma that of the ranking loss (Eq. 8 of the '
    'paper); KD has alpha = 0.9, beta = 0.1, T = 4, and ranking is added to '
    'it with gamma = 0.9, k = 1, on all channels, where the row does not say '
    'otherwise.'
)
decimals = 1
seeds = [0, 1, 2, 3, 4]
columns = {'top-1': dict(pair='resnet14x2_resnet8')}
# Checkpoints of all epochs, of which Figure 5 is drawn.
_all = {
    'train_cfg.val_interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
}
_tail = {'train_dataloader.dataset.imbalance': 10}
_alpha = (0.1, 0.9, 4.0)
_beta = (0.1, 0.5, 1.0)
_gamma = (0.1, 0.9, 4.0)


def _init(std):
    return {
        'model.student.head.init_cfg': dict(
            type='Normal', layer='Linear', std=std
        )
    }


def _rank(set=None, options=None, **arguments):
    return dict(
        method='kd+rank',
        set=dict(KendallRankLoss=arguments, **(set or {})),
        options=options or {},
        against=['KD'],
    )


rows = {
    'student alone': dict(method='alone', options=_all),
    'KD': dict(method='kd', options=_all, against=['student alone']),
    'KD + ranking': dict(
        method='kd+rank', options=_all, against=['student alone', 'KD']
    ),
    'ranking': dict(
        method='rank', options=_all, against=['student alone', 'KD']
    ),
    # Figure 4.
    **{
        f'{channels} {percent} %': _rank(
            channels=channels, percent=float(percent)
        )
        for percent in (10, 30, 50)
        for channels in ('top', 'min')
    },
    # Tables 6 and 7.
    **{
        f'gamma = {gamma:g}': _rank(loss_weight=gamma)
        for gamma in (0.1, 0.5, 2.0, 4.0, 6.0)
    },
    **{f'k = {k:g}': _rank(k=k) for k in (0.1, 0.5, 2.0, 4.0, 6.0)},
    # Figure 8.
    **{
        f'alpha = {alpha:g}, gamma = {gamma:g}': _rank(
            set=dict(KLDivLoss=dict(loss_weight=alpha)), loss_weight=gamma
        )
        for alpha in _alpha
        for gamma in _gamma
        if alpha != 0.9
    },
    **{
        f'beta = {beta:g}, gamma = {gamma:g}': _rank(
            options={'model.student.head.loss.loss_weight': beta},
            loss_weight=gamma,
        )
        for beta in _beta
        for gamma in _gamma
        if beta != 0.1
    },
    # Figure 9, and with other methods, of which DIST is the relational one.
    'LSKD': dict(method='lskd', against=['KD']),
    'LSKD + ranking': dict(method='lskd+rank', against=['LSKD']),
    'DKD': dict(method='dkd', against=['KD']),
    'DKD + ranking': dict(method='dkd+rank', against=['DKD']),
    'DIST': dict(method='dist', against=['KD']),
    'DIST + ranking': dict(method='dist+rank', against=['DIST']),
    # A long tail: 20 images of the most frequent class, 2 of the rarest.
    'student alone, long tail': dict(method='alone', options=_tail),
    'KD, long tail': dict(
        method='kd', options=_tail, against=['student alone, long tail']
    ),
    'KD + ranking, long tail': dict(
        method='kd+rank', options=_tail, against=['KD, long tail']
    ),
    'ranking, long tail': dict(
        method='rank', options=_tail, against=['KD, long tail']
    ),
    # Initial logits near zero, and far too large.
    'KD, head of 0.001': dict(method='kd', options=_init(0.001)),
    'KD + ranking, head of 0.001': dict(
        method='kd+rank',
        options=_init(0.001),
        against=['KD, head of 0.001'],
    ),
    'KD, head of 3': dict(method='kd', options=_init(3.0)),
    'KD + ranking, head of 3': dict(
        method='kd+rank', options=_init(3.0), against=['KD, head of 3']
    ),
    'KD + ranking without normalisation, head of 3': dict(
        method='kd+rank',
        set=dict(KendallRankLoss=dict(normalize=False)),
        options=_init(3.0),
        against=['KD, head of 3'],
    ),
}
