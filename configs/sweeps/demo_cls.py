# What `make demo-cls` trains.
title = 'Digits in colours, 80 classes, top-1 (%)'
cells = 'digits_cls'
columns = {
    'top-1': dict(pair='resnet14x2_resnet8'),
    'top-5': dict(pair='resnet14x2_resnet8', metric='top5'),
}
rows = {
    'student alone': dict(method='alone'),
    'KD': dict(method='kd'),
    'KD + ranking': dict(method='kd+rank'),
    'ranking': dict(method='rank'),
    'LSKD': dict(method='lskd'),
    'CTKD': dict(method='ctkd'),
    'DKD': dict(method='dkd'),
    'DIST': dict(method='dist'),
    'NKD': dict(method='nkd'),
    'MLKD': dict(method='mlkd'),
}
