# Which ResNet56, which temperature, and whether DeiT had a distillation token
# is not in the paper; pair resnet56_deit-tiny-distilled has one.
title = (
    'Table 4. Vision transformers on CIFAR-100, ResNet56 as teacher, top-1 (%)'
)
cells = 'cifar100_vit'
columns = {
    'DeiT-Tiny': dict(pair='resnet56_deit-tiny'),
    'T2T-ViT-7': dict(pair='resnet56_t2t-vit-7'),
    'PiT-Tiny': dict(pair='resnet56_pit-tiny'),
    'PVT-Tiny': dict(pair='resnet56_pvt-tiny'),
}
rows = {
    'Student': dict(method='alone'),
    'KD': dict(method='kd'),
    'KD + ranking': dict(method='kd+rank'),
}
paper = {
    'Student': [65.08, 69.37, 73.58, 69.22],
    'KD': [71.11, 71.72, 74.03, 72.46],
    'KD + ranking': [73.25, 72.49, 74.33, 73.42],
}
