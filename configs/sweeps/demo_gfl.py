# What `make demo DETECTOR=gfl` trains.
_base_ = '../_base_/demo_digits.py'
title = 'Digits, GFL, ResNet-50 to MobileNetV2'
columns = {
    'AP': dict(pair='gfl', metric='AP'),
    'AP50': dict(pair='gfl', metric='AP50'),
    'AP75': dict(pair='gfl', metric='AP75'),
    'tau': dict(pair='gfl', metric='tau'),
}
rows = {
    'LD': dict(method='ld', against=['student alone']),
    'LD + ranking': dict(method='ld+rank', against=['student alone', 'LD']),
    'CrossKD': dict(method='crosskd', against=['student alone']),
    'CrossKD + ranking': dict(
        method='crosskd+rank', against=['student alone', 'CrossKD']
    ),
}
