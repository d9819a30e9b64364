# mdistiller's recipe for CIFAR-100. MobileNetV2 and ShuffleNets: lr 0.01.
train_cfg = dict(by_epoch=True, max_epochs=240, val_interval=1)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[150, 180, 210], gamma=0.1)
]
auto_scale_lr = dict(enable=False, base_batch_size=64)
