# What `make demo DETECTOR=atss` trains.
_base_ = '../_base_/demo_digits.py'
title = 'Digits, ATSS, ResNet-50 to MobileNetV2'
columns = {
    'AP': dict(pair='atss', metric='AP'),
    'AP50': dict(pair='atss', metric='AP50'),
    'AP75': dict(pair='atss', metric='AP75'),
    'tau': dict(pair='atss', metric='tau'),
}
rows = {
    'CrossKD': dict(method='crosskd', against=['student alone']),
    'CrossKD + ranking': dict(
        method='crosskd+rank', against=['student alone', 'CrossKD']
    ),
}
