# What `make demo-cls` trains.
title = 'Digits in colours, classification, ResNet-14x2 to ResNet-8'
cells = 'digits_cls'
note = 'MLKD is the formula of its paper (`reference_slip=False`).'
seeds = [0, 1, 2]
decimals = 1
_pair = 'resnet14x2_resnet8'
columns = {
    'top-1': dict(pair=_pair),
    'best': dict(pair=_pair, epoch='best'),
    'top-5': dict(pair=_pair, metric='top5'),
    'tau': dict(pair=_pair, metric='tau'),
}
rows = {
    'teacher': dict(method='teacher'),
    'student alone': dict(method='alone'),
    'KD': dict(method='kd', against=['student alone']),
    'KD + ranking': dict(method='kd+rank', against=['student alone', 'KD']),
    'ranking': dict(method='rank', against=['student alone']),
    'LSKD': dict(method='lskd', against=['student alone']),
    'CTKD': dict(method='ctkd', against=['student alone']),
    'DKD': dict(method='dkd', against=['student alone']),
    'DIST': dict(method='dist', against=['student alone']),
    'NKD': dict(method='nkd', against=['student alone']),
    'MLKD': dict(method='mlkd', against=['student alone']),
}
