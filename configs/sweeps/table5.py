# The paper has no row for the student alone, and none for ReviewKD and DKD.
# One training has one GPU here, which holds the recipe's whole batch of 8.
title = 'Table 5. COCO, Faster R-CNN, ResNet50 to MobileNetV2'
cells = 'coco'
_place = dict(
    pair='r50_mobilenet-v2_fpn_180k',
    options={'train_dataloader.batch_size': 8},
)
columns = {
    'AP': dict(metric='AP', **_place),
    'AP50': dict(metric='AP50', **_place),
    'AP75': dict(metric='AP75', **_place),
}
rows = {
    'student alone': dict(method='alone'),
    'KD': dict(method='kd'),
    'FitNet': dict(method='fitnet'),
    'FGFI': dict(method='fgfi'),
    'CTKD': dict(method='ctkd'),
    'KD + ranking': dict(method='kd+rank'),
    'ReviewKD': dict(method='reviewkd'),
    'DKD': dict(method='dkd'),
}
paper = {
    'KD': [30.13, 50.28, 31.35],
    'FitNet': [30.2, 49.8, 31.69],
    'FGFI': [31.16, 50.68, 32.92],
    'CTKD': [31.39, 52.34, 31.35],
    'KD + ranking': [31.99, 53.8, 33.37],
}
