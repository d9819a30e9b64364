_base_ = '../_base_/tables_of_mlkd.py'
title = 'Table 1. CIFAR-100, top-1 (%), networks of different kinds'
columns = {
    'ResNet32x4 → WRN-16-2': dict(pair='resnet32x4_wrn-16-2'),
    'ResNet32x4 → WRN-40-2': dict(pair='resnet32x4_wrn-40-2'),
    'ResNet50 → MobileNetV2': dict(pair='resnet50_mobilenet-v2'),
    'ResNet32x4 → ShuffleNetV1': dict(pair='resnet32x4_shufflenet-v1'),
    'WRN-40-2 → ShuffleNetV1': dict(pair='wrn-40-2_shufflenet-v1'),
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
    'FitNet': [74.7, 77.69, 63.16, 73.59, 73.73],
    'CRD': [75.65, 78.15, 69.11, 75.11, 76.05],
    'ReviewKD': [76.11, 78.96, 69.89, 77.45, 77.14],
    'DIST': [75.58, 78.02, 68.66, 76.34, 76.0],
    'LSKD': [77.53, 79.66, 71.19, 76.48, 76.93],
    'KD': [74.9, 77.7, 67.35, 74.07, 74.83],
    'KD + ranking': [75.18, 78.5, 70.45, 75.98, 76.13],
    'CTKD': [74.57, 77.66, 68.67, 74.48, 75.61],
    'CTKD + ranking': [75.71, 78.61, 70.18, 76.67, 76.8],
    'DKD': [75.7, 78.46, 70.35, 76.35, 76.33],
    'DKD + ranking': [75.99, 78.75, 70.9, 77.36, 76.43],
    'MLKD': [76.52, 79.26, 71.04, 77.18, 77.44],
    'MLKD + ranking': [76.83, 79.86, 71.66, 77.63, 77.87],
}
