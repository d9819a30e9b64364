# Whether "Only Ranking Loss" keeps the cross-entropy is not in the paper; here
# it does, with a weight of 0.1.
title = 'Table 9. KL only, ranking only, both, CIFAR-100, top-1 (%)'
cells = 'cifar100'
columns = {
    'ResNet32x4 → ShuffleNetV1': dict(pair='resnet32x4_shufflenet-v1'),
    'ResNet32x4 → WRN-40-2': dict(pair='resnet32x4_wrn-40-2'),
    'WRN-40-2 → ShuffleNetV1': dict(pair='wrn-40-2_shufflenet-v1'),
    'VGG13 → VGG8': dict(pair='vgg13_vgg8'),
    'WRN-40-2 → WRN-40-1': dict(pair='wrn-40-2_wrn-40-1'),
}
rows = {
    'KD (Only KL)': dict(method='kd'),
    'Only Ranking Loss': dict(method='rank'),
    'KL+Ranking Loss': dict(method='kd+rank'),
}
paper = {
    'KD (Only KL)': [74.07, 77.7, 74.83, 72.98, 73.54],
    'Only Ranking Loss': [75.6, 78.04, 75.81, 73.72, 74.0],
    'KL+Ranking Loss': [75.98, 78.5, 76.13, 74.14, 74.49],
}
