# What the tables of `make demo` share: a title and columns are missing.
cells = 'digits'
decimals = 1
rows = {
    'teacher': dict(method='teacher'),
    'student alone': dict(method='alone'),
    'KD': dict(method='kd', against=['student alone']),
    'ranking': dict(method='rank', against=['student alone']),
    'KD + ranking': dict(method='kd+rank', against=['student alone', 'KD']),
    'CTKD': dict(method='ctkd', against=['student alone']),
    'FitNet': dict(method='fitnet', against=['student alone']),
    'FGFI': dict(method='fgfi', against=['student alone']),
    'ReviewKD': dict(method='reviewkd', against=['student alone']),
    'PKD': dict(method='pkd', against=['student alone']),
    'PKD + ranking': dict(method='pkd+rank', against=['student alone', 'PKD']),
    'PKD + KD': dict(method='pkd+kd', against=['student alone', 'PKD', 'KD']),
    'CWD': dict(method='cwd', against=['student alone']),
    'CWD + KD': dict(method='cwd+kd', against=['student alone', 'CWD', 'KD']),
    'CWD + ranking': dict(method='cwd+rank', against=['student alone', 'CWD']),
    'MGD': dict(method='mgd', against=['student alone']),
    'MGD + ranking': dict(method='mgd+rank', against=['student alone', 'MGD']),
    'FGD': dict(method='fgd', against=['student alone']),
    'FGD + ranking': dict(method='fgd+rank', against=['student alone', 'FGD']),
}
