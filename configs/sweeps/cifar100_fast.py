# cifar100_short where a processor trains that computes in bfloat16, with the
# ranking loss in KD's place and NKD.
_base_ = './cifar100_short.py'
title = 'CIFAR-100 in five epochs, compiled, ResNet-56 to ResNet-20, top-1 (%)'
cells = 'cifar100_compiled'
note = (
    'A **shortened schedule** of the shape of the recipe: five epochs in '
    'place of 240, the steps of the learning rate and the warm-up of DKD at '
    'the same fractions of them, all other settings as in the recipe. It '
    'says what the methods do early, not what they reach. The teacher is a '
    'ResNet-56 published by chenyaofo/pytorch-cifar-models (top-1 72.63), '
    'and computes in bfloat16; the student does in float32, compiled. '
    '[Another page](cifar100_short.md) has KD, with and without ranking, '
    'by a teacher in float32 and not compiled. *Weight 9* is what the '
    'ranking loss has by itself at its best [on '
    'digits](digits_cls_report.md), and what LSKD has here. '
    'A row that is missing has not run.'
)
rows = {
    'ranking, weight 9': dict(
        method='rank',
        set=dict(KendallRankLoss=dict(loss_weight=9.0)),
        against=['student alone', 'KD', 'KD + ranking'],
    ),
    'LSKD': dict(against=['KD', 'ranking, weight 9']),
    'NKD': dict(method='nkd', against=['KD', 'ranking, weight 9']),
}
