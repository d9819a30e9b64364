title = 'Table 12. With DIST, CIFAR-100, top-1 (%)'
cells = 'cifar100'
columns = {
    'ResNet32x4 → WRN-16-2': dict(pair='resnet32x4_wrn-16-2'),
    'ResNet32x4 → WRN-40-2': dict(pair='resnet32x4_wrn-40-2'),
    'WRN-40-2 → ShuffleNetV1': dict(pair='wrn-40-2_shufflenet-v1'),
    'VGG13 → VGG8': dict(pair='vgg13_vgg8'),
    'WRN-40-2 → WRN-40-1': dict(pair='wrn-40-2_wrn-40-1'),
}
rows = {
    'DIST': dict(method='dist'),
    'DIST + ranking': dict(method='dist+rank'),
}
paper = {
    'DIST': [75.58, 78.02, 76.0, 73.8, 74.73],
    'DIST + ranking': [75.85, 78.54, 76.23, 74.06, 74.86],
}
