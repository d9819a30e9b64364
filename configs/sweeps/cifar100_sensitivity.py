# Tables 6 and 7 of the paper on its smallest pair, in half of 16 epochs.
title = 'gamma and k on CIFAR-100 in eight epochs, ResNet-56 to ResNet-20'
cells = 'cifar100'
note = (
    'Beside the KD of the recipe: the ranking loss with weight gamma (Table 6 '
    'of the paper, k = 1) and with steepness k (Table 7, gamma = 0.9). A '
    '**shortened schedule** of its shape: eight epochs in place of 240.'
)
seeds = (0, 1)
columns = {
    'top-1': dict(
        pair='resnet56_resnet20',
        metric='top1',
        options={
            'train_cfg.max_epochs': 8,
            'param_scheduler.0.milestones': [5, 6, 7],
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'val_dataloader.num_workers': 0,
            'val_dataloader.persistent_workers': False,
            'default_hooks.checkpoint.max_keep_ckpts': 1,
        },
    )
}
_values = (0.1, 0.5, 2.0, 4.0, 6.0)
rows = {
    'KD': dict(method='kd'),
    'gamma = 0.9, k = 1': dict(method='kd+rank', against=['KD']),
    **{
        f'{title} = {value:g}': dict(
            method='kd+rank',
            set=dict(KendallRankLoss={argument: value}),
            against=['KD'],
        )
        for title, argument in (('gamma', 'loss_weight'), ('k', 'k'))
        for value in _values
    },
}
