# What `make demo DETECTOR=rtmdet` trains.
_base_ = '../_base_/demo_digits.py'
title = 'Digits, RTMDet, ResNet-50 to MobileNetV2'
columns = {
    'AP': dict(pair='rtmdet', metric='AP'),
    'AP50': dict(pair='rtmdet', metric='AP50'),
    'AP75': dict(pair='rtmdet', metric='AP75'),
    'tau': dict(pair='rtmdet', metric='tau'),
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
