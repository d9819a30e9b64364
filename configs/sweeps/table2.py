_base_ = '../_base_/tables_of_mlkd.py'
title = 'Table 2. CIFAR-100, top-1 (%), networks of one kind'
columns = {
    'ResNet32x4 → ResNet8x4': dict(pair='resnet32x4_resnet8x4'),
    'VGG13 → VGG8': dict(pair='vgg13_vgg8'),
    'WRN-40-2 → WRN-40-1': dict(pair='wrn-40-2_wrn-40-1'),
    'ResNet110 → ResNet20': dict(pair='resnet110_resnet20'),
}
rows = {
    'FitNet': dict(method='fitnet'),
    'CRD': dict(method='crd'),
    'ReviewKD': dict(method='reviewkd'),
    'DIST': dict(method='dist'),
    'LSKD': dict(method='mlkd-lskd'),
    'KD': dict(method='kd'),
    'KD + ranking': dict(method='kd+rank'),
    'CTKD': dict(method='ctkd'),
    'CTKD + ranking': dict(method='ctkd+rank'),
    'DKD': dict(method='dkd'),
    'DKD + ranking': dict(method='dkd+rank'),
    'MLKD': dict(method='mlkd'),
    'MLKD + ranking': dict(method='mlkd+rank'),
}
paper = {
    'FitNet': [73.5, 71.02, 72.24, 68.99],
    'CRD': [75.51, 73.94, 74.14, 71.46],
    'ReviewKD': [75.63, 74.84, 75.09, 71.34],
    'DIST': [76.31, 73.8, 74.73, 71.4],
    'LSKD': [78.28, 75.22, 75.56, 72.27],
    'KD': [73.33, 72.98, 73.54, 70.67],
    'KD + ranking': [74.74, 74.14, 74.49, 71.09],
    'CTKD': [73.39, 73.52, 73.93, 70.99],
    'CTKD + ranking': [75.59, 74.76, 74.86, 71.08],
    'DKD': [76.32, 74.68, 74.81, 71.06],
    'DKD + ranking': [76.61, 75.1, 74.94, 71.84],
    'MLKD': [77.08, 75.18, 75.35, 71.89],
    'MLKD + ranking': [77.25, 75.35, 76.08, 72.35],
}
