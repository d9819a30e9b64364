# What the pictures of docs/figures.md compare: gamma, k and channels.
title = 'Figures 4 to 9 on the digits, ResNet-14x2 to ResNet-8, top-1 (%)'
cells = 'digits_cls'
decimals = 1
columns = {
    'top-1': dict(
        pair='resnet14x2_resnet8',
        options={
            'train_cfg.val_interval': 1,
            'default_hooks.logger.interval': 25,
        },
    ),
}
rows = {
    'student alone': dict(method='alone'),
    'KD': dict(method='kd'),
    'KD + ranking': dict(method='kd+rank'),
    'ranking': dict(method='rank'),
    'top 10 %': dict(
        method='kd+rank',
        set=dict(KendallRankLoss=dict(channels='top', percent=10.0)),
    ),
    'min 10 %': dict(
        method='kd+rank',
        set=dict(KendallRankLoss=dict(channels='min', percent=10.0)),
    ),
    'gamma = 4': dict(
        method='kd+rank', set=dict(KendallRankLoss=dict(loss_weight=4.0))
    ),
    'k = 4': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=4.0))),
    'top 50 %': dict(
        method='kd+rank',
        set=dict(KendallRankLoss=dict(channels='top', percent=50.0)),
    ),
    'min 50 %': dict(
        method='kd+rank',
        set=dict(KendallRankLoss=dict(channels='min', percent=50.0)),
    ),
    'gamma = 0.1': dict(
        method='kd+rank', set=dict(KendallRankLoss=dict(loss_weight=0.1))
    ),
    'k = 0.5': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=0.5))),
    'top 30 %': dict(
        method='kd+rank',
        set=dict(KendallRankLoss=dict(channels='top', percent=30.0)),
    ),
    'min 30 %': dict(
        method='kd+rank',
        set=dict(KendallRankLoss=dict(channels='min', percent=30.0)),
    ),
    'gamma = 2': dict(
        method='kd+rank', set=dict(KendallRankLoss=dict(loss_weight=2.0))
    ),
    'k = 2': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=2.0))),
}
