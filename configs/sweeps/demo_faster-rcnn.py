# What `make demo` trains.
_base_ = '../_base_/demo_digits.py'
title = 'Digits, Faster R-CNN, ResNet-50 to MobileNetV2'
columns = {
    'AP': dict(pair='faster-rcnn', metric='AP'),
    'AP50': dict(pair='faster-rcnn', metric='AP50'),
    'AP75': dict(pair='faster-rcnn', metric='AP75'),
    'tau': dict(pair='faster-rcnn', metric='tau'),
}
