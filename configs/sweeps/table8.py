# The paper has 73.56 for KD + ranking at T=4 here, and 74.74 for the same
# setting in Tables 2, 6 and 7.
title = 'Table 8. Temperature of KD, ResNet32x4 to ResNet8x4, CIFAR-100, top-1'
cells = 'cifar100'
columns = {
    'T=4': {
        'pair': 'resnet32x4_resnet8x4',
        'set': dict(KLDivLoss=dict(temperature=4)),
    },
    'T=5': {
        'pair': 'resnet32x4_resnet8x4',
        'set': dict(KLDivLoss=dict(temperature=5)),
    },
    'T=6': {
        'pair': 'resnet32x4_resnet8x4',
        'set': dict(KLDivLoss=dict(temperature=6)),
    },
    'T=10': {
        'pair': 'resnet32x4_resnet8x4',
        'set': dict(KLDivLoss=dict(temperature=10)),
    },
}
rows = {
    'KD': dict(method='kd'),
    'KD + ranking': dict(method='kd+rank'),
}
paper = {
    'KD': [73.33, 73.39, 73.43, 73.55],
    'KD + ranking': [73.56, 73.49, 74.36, 74.04],
}
