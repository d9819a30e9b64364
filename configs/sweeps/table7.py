title = 'Table 7. Steepness k, CIFAR-100, top-1 (%)'
cells = 'cifar100'
columns = {
    'ResNet32x4 → ResNet8x4': dict(pair='resnet32x4_resnet8x4'),
    'WRN-40-2 → WRN-40-1': dict(pair='wrn-40-2_wrn-40-1'),
    'ResNet32x4 → ShuffleNetV2': dict(pair='resnet32x4_shufflenet-v2'),
    'ResNet50 → MobileNetV2': dict(pair='resnet50_mobilenet-v2'),
}
rows = {
    'KD': dict(method='kd'),
    'k=0.1': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=0.1))),
    'k=0.5': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=0.5))),
    'k=1': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=1.0))),
    'k=2': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=2.0))),
    'k=4': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=4.0))),
    'k=6': dict(method='kd+rank', set=dict(KendallRankLoss=dict(k=6.0))),
}
paper = {
    'KD': [73.33, 73.54, 74.45, 67.35],
    'k=0.1': [73.13, 73.75, 75.47, 68.9],
    'k=0.5': [74.36, 74.17, 75.73, 68.87],
    'k=1': [74.74, 74.49, 76.58, 70.45],
    'k=2': [74.79, 74.87, 77.06, 70.53],
    'k=4': [75.56, 74.48, 77.21, 70.81],
    'k=6': [75.74, 74.11, 76.11, 70.32],
}
