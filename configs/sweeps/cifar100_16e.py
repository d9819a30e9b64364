# The paper's pair on real images, in a fifteenth of its epochs. Two more seeds
# of what matters most: `--rows KD 'KD + ranking' --seeds 0 1 2 3 4`.
_base_ = './cifar100_short.py'
title = 'CIFAR-100 in 16 epochs, ResNet-56 to ResNet-20, top-1 (%)'
note = (
    'A **shortened schedule** of the shape of the recipe: 16 epochs in place '
    'of 240, the steps of the learning rate and the warm-up of DKD at the '
    'same fractions of them, all other settings as in the recipe. It says '
    'what the methods do early, not what they reach. The teacher is a '
    'ResNet-56 published by chenyaofo/pytorch-cifar-models (top-1 72.63).'
)
_longer = {
    'train_cfg.max_epochs': 16,
    'param_scheduler.0.by_epoch': True,
    'param_scheduler.0.milestones': [10, 12, 14],
}
columns = {'top-1': dict(options=_longer), 'top-5': dict(options=_longer)}
# 782 iterations an epoch.
_warmup = dict(DKDLoss=dict(schedule=dict(warmup=1043)))
rows = {'DKD': dict(set=_warmup), 'DKD + ranking': dict(set=_warmup)}
