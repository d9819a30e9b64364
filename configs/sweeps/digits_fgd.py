# Whether what is best on Faster R-CNN is best on dense detectors too.
title = 'FGD and KD against CWD and KD, on dense detectors of the digits'
cells = 'digits'
note = (
    'As [the methods by detector](digits_methods.md), but with teachers '
    'trained anew on another processor: compare within this page.'
)
decimals = 1
seeds = (10, 11, 12)
_end = {'train_cfg.val_interval': 3}
columns = {
    'RetinaNet': dict(pair='retinanet', metric='AP', options=_end),
    'GFL': dict(pair='gfl', metric='AP', options=_end),
}
rows = {
    'teacher': dict(method='teacher'),
    'CWD + KD': dict(method='cwd+kd'),
    'FGD + KD': dict(method='fgd+kd', against=['CWD + KD']),
}
