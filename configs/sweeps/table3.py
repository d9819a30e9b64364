title = 'Table 3. ImageNet, ResNet50 to MobileNetV1'
cells = 'imagenet'
columns = {
    'top-1': dict(pair='resnet50_mobilenet-v1'),
    'top-5': dict(pair='resnet50_mobilenet-v1', metric='top5'),
}
rows = {
    'AT': dict(method='at'),
    'OFD': dict(method='ofd'),
    'CRD': dict(method='crd'),
    'KD': dict(method='kd'),
    'KD + ranking': dict(method='kd+rank'),
}
paper = {
    'AT': [69.56, 89.33],
    'OFD': [71.25, 90.34],
    'CRD': [71.37, 90.41],
    'KD': [70.5, 89.8],
    'KD + ranking': [71.54, 90.84],
}
