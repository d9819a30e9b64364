# The paper's top-5 of CTKD and NKD are the same number.
title = 'Table 13. ImageNet, ResNet34 to ResNet18'
cells = 'imagenet'
columns = {
    'top-1': dict(pair='resnet34_resnet18'),
    'top-5': dict(pair='resnet34_resnet18', metric='top5'),
}
rows = {
    'AT': dict(method='at'),
    'OFD': dict(method='ofd'),
    'CRD': dict(method='crd'),
    'CTKD': dict(method='ctkd'),
    'CTKD + ranking': dict(method='ctkd+rank'),
    'NKD': dict(method='nkd'),
    'NKD + ranking': dict(method='nkd+rank'),
}
paper = {
    'AT': [70.69, 90.01],
    'OFD': [70.81, 89.98],
    'CRD': [71.17, 90.13],
    'CTKD': [71.32, 90.27],
    'CTKD + ranking': [71.68, 90.3],
    'NKD': [71.96, 90.27],
    'NKD + ranking': [72.06, 90.49],
}
