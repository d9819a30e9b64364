# What `make demo DETECTOR=fcos` trains.
_base_ = '../_base_/demo_digits.py'
title = 'Digits, FCOS, ResNet-50 to MobileNetV2'
columns = {
    'AP': dict(pair='fcos', metric='AP'),
    'AP50': dict(pair='fcos', metric='AP50'),
    'AP75': dict(pair='fcos', metric='AP75'),
    'tau': dict(pair='fcos', metric='tau'),
}
# FGFI needs anchors.
rows = {
    '_delete_': True,
    **{row: x for row, x in _base_.rows.items() if row != 'FGFI'},
    'CrossKD': dict(method='crosskd', against=['student alone']),
    'CrossKD + ranking': dict(
        method='crosskd+rank', against=['student alone', 'CrossKD']
    ),
}
