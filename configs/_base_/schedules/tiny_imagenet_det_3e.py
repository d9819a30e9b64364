# From backbones that the photographs of other classes have trained.
_base_ = './digits_3e.py'
train_cfg = dict(val_interval=3)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(enable=False, base_batch_size=16)
