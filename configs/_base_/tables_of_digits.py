# What the tables of Faster R-CNN on the digits share.
cells = 'digits'
decimals = 1
# A validation at the end alone.
columns = dict(
    AP=dict(
        pair='faster-rcnn', metric='AP', options={'train_cfg.val_interval': 3}
    )
)
