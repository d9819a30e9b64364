# What `make demo DETECTOR=retinanet` trains.
_base_ = '../_base_/demo_digits.py'
title = 'Digits, RetinaNet, ResNet-50 to MobileNetV2'
columns = {
    'AP': dict(pair='retinanet', metric='AP'),
    'AP50': dict(pair='retinanet', metric='AP50'),
    'AP75': dict(pair='retinanet', metric='AP75'),
    'tau': dict(pair='retinanet', metric='tau'),
}
rows = {
    'CrossKD': dict(method='crosskd', against=['student alone']),
    'CrossKD + ranking': dict(
        method='crosskd+rank', against=['student alone', 'CrossKD']
    ),
}
