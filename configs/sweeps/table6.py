title = 'Table 6. Weight of the ranking loss, CIFAR-100, top-1 (%)'
cells = 'cifar100'
columns = {
    'ResNet32x4 → ResNet8x4': dict(pair='resnet32x4_resnet8x4'),
    'WRN-40-2 → WRN-40-1': dict(pair='wrn-40-2_wrn-40-1'),
    'ResNet32x4 → ShuffleNetV2': dict(pair='resnet32x4_shufflenet-v2'),
    'ResNet50 → MobileNetV2': dict(pair='resnet50_mobilenet-v2'),
}
rows = {
    'KD': dict(method='kd'),
    'gamma=0.1': {
        'method': 'kd+rank',
        'set': dict(KendallRankLoss=dict(loss_weight=0.1)),
    },
    'gamma=0.5': {
        'method': 'kd+rank',
        'set': dict(KendallRankLoss=dict(loss_weight=0.5)),
    },
    'gamma=0.9': {
        'method': 'kd+rank',
        'set': dict(KendallRankLoss=dict(loss_weight=0.9)),
    },
    'gamma=2': {
        'method': 'kd+rank',
        'set': dict(KendallRankLoss=dict(loss_weight=2.0)),
    },
    'gamma=4': {
        'method': 'kd+rank',
        'set': dict(KendallRankLoss=dict(loss_weight=4.0)),
    },
    'gamma=6': {
        'method': 'kd+rank',
        'set': dict(KendallRankLoss=dict(loss_weight=6.0)),
    },
}
paper = {
    'KD': [73.33, 73.54, 74.45, 67.35],
    'gamma=0.1': [74.15, 74.15, 75.52, 69.25],
    'gamma=0.5': [74.84, 74.07, 76.34, 69.81],
    'gamma=0.9': [74.74, 74.49, 76.58, 70.45],
    'gamma=2': [74.62, 74.65, 77.07, 69.97],
    'gamma=4': [75.07, 73.6, 77.05, 70.59],
    'gamma=6': [74.78, 73.09, 76.9, 69.58],
}
