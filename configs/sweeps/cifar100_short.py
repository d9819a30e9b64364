# The paper's pair on real images, in a forty-eighth of its epochs.
title = 'CIFAR-100 in five epochs, ResNet-56 to ResNet-20, top-1 (%)'
cells = 'cifar100'
note = (
    'A **shortened schedule** of the shape of the recipe: five epochs in '
    'place of 240, the steps of the learning rate and the warm-up of DKD at '
    'the same fractions of them, all other settings as in the recipe. It '
    'says what the methods do early, not what they reach. The teacher is a '
    'ResNet-56 published by chenyaofo/pytorch-cifar-models (top-1 72.63).'
)
seeds = (0, 1, 2)
_short = {
    'train_cfg.max_epochs': 5,
    # 782 iterations an epoch.
    'param_scheduler.0.by_epoch': False,
    'param_scheduler.0.milestones': [2444, 2933, 3421],
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
}
columns = {
    'top-1': dict(pair='resnet56_resnet20', metric='top1', options=_short),
    'top-5': dict(pair='resnet56_resnet20', metric='top5', options=_short),
}
_warmup = dict(DKDLoss=dict(schedule=dict(by_epoch=False, warmup=326)))
rows = {
    'student alone': dict(method='alone'),
    'KD': dict(method='kd', against=['student alone']),
    'KD + ranking': dict(method='kd+rank', against=['KD']),
    'ranking': dict(method='rank', against=['KD']),
    'LSKD': dict(method='lskd', against=['KD']),
    'LSKD + ranking': dict(method='lskd+rank', against=['LSKD']),
    'DKD': dict(method='dkd', set=_warmup, against=['KD']),
    'DKD + ranking': dict(method='dkd+rank', set=_warmup, against=['DKD']),
}
