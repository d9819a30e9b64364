# Settings of each method, tried with equal effort on seeds 0 to 4; what was
# chosen is reported on other seeds by digits_report.
title = 'Search on the digits, Faster R-CNN, ResNet-50 to MobileNetV2'
cells = 'digits'
decimals = 1
seeds = (0, 1)
# A validation at the end alone.
columns = dict(
    AP=dict(
        pair='faster-rcnn', metric='AP', options={'train_cfg.val_interval': 3}
    )
)


def _tried(method, loss, *settings):
    return {
        ', '.join([method, *(f'{k}={v}' for k, v in s.items())]): dict(
            method=method, set={loss: s}
        )
        for s in settings
    }


rows = {
    'alone': dict(method='alone'),
    **_tried(
        'kd',
        'KLDivLoss',
        dict(),
        dict(temperature=3),
        dict(rows='foreground'),
        dict(rows='foreground', temperature=3),
        dict(rows='confidence'),
        dict(rows='confidence', temperature=3),
        dict(rows='foreground', temperature=3, loss_weight=3),
        dict(rows='confidence', temperature=3, loss_weight=3),
    ),
    **_tried(
        'dkd',
        'DKDLoss',
        dict(),
        dict(temperature=3),
        dict(rows='foreground'),
        dict(rows='foreground', temperature=3),
        dict(rows='confidence'),
        dict(beta=2),
        dict(loss_weight=3),
        dict(rows='foreground', loss_weight=0.3),
    ),
}
