# Whether what is best on Faster R-CNN is best on dense detectors too.
_base_ = './digits_methods.py'
title = 'FGD and KD against CWD and KD, on dense detectors of the digits'
note = (
    'As [the methods by detector](digits_methods.md), but with teachers '
    'trained anew on another processor: compare within this page.'
)
columns = {
    '_delete_': True,
    'RetinaNet': _base_.columns['RetinaNet'],
    'GFL': _base_.columns['GFL'],
}
rows = {
    '_delete_': True,
    'teacher': dict(method='teacher'),
    'CWD + KD': dict(method='cwd+kd'),
    'FGD + KD': dict(method='fgd+kd', against=['CWD + KD']),
}
