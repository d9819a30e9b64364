# SGD for ImageNet, batches of 512 images.
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[30, 60, 90], gamma=0.1)
]
auto_scale_lr = dict(enable=False, base_batch_size=512)
