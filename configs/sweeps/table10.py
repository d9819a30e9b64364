title = 'Table 10. Normalisation in the ranking loss, CIFAR-100, top-1 (%)'
cells = 'cifar100'
columns = {
    'ResNet32x4 → ShuffleNetV1': dict(pair='resnet32x4_shufflenet-v1'),
    'WRN-40-2 → WRN-40-1': dict(pair='wrn-40-2_wrn-40-1'),
}
rows = {
    'KD': dict(method='kd'),
    'KD + ranking w/o Norm': {
        'method': 'kd+rank',
        'set': dict(KendallRankLoss=dict(normalize=False)),
    },
    'KD + ranking w Norm': {
        'method': 'kd+rank',
        'set': dict(KendallRankLoss=dict(normalize=True)),
    },
}
paper = {
    'KD': [74.07, 73.54],
    'KD + ranking w/o Norm': [76.38, 74.07],
    'KD + ranking w Norm': [75.98, 74.49],
}
