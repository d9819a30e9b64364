# Detectors and methods of `make demo`: a pair is a detector, with a ResNet-50
# of a quarter of its width as teacher and a half-width MobileNetV2 as student.
task = 'detection'
# The set is made there if it is missing.
make_digits = 'data/digits'
student = 'mmdet_rankkd::digits/{}_mobilenet-v2-half_fpn_digits.py'
teacher = dict(
    config='mmdet_rankkd::digits/{}_r50-quarter_fpn_digits.py',
    checkpoint='checkpoints/digits/{}_r50-quarter_fpn_digits.pth',
)
# A teacher whose checkpoint is missing is trained by its config.
train_teachers = True
logits = dict(type='mmdet_rankkd.RoILogits')
# The teacher also watches the student that trains alone: tau between the two
# is logged at each validation.
tau = dict(max_batches=10)
options = {
    # 220 iterations an epoch: the trainings of the demo fit into its time.
    'train_dataloader.dataset.indices': 1760,
    'default_hooks.logger.interval': 25,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
}

methods = {
    'alone': dict(losses=[]),
    'kd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.KLDivLoss', temperature=1.0, loss_weight=1.0
            )
        ],
    ),
    'lskd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.KLDivLoss',
                temperature=2.0,
                standardized=True,
                loss_weight=1.0,
            )
        ],
    ),
    'dkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.DKDLoss',
                alpha=1.0,
                beta=8.0,
                temperature=1.0,
                loss_weight=1.0,
            )
        ],
    ),
    'nkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.NKDLoss',
                gamma=1.5,
                temperature=1.0,
                loss_weight=1.0,
            )
        ],
    ),
    'rank': dict(
        losses=[
            dict(type='mmdet_rankkd.KendallRankLoss', k=1.0, loss_weight=1.0)
        ],
    ),
    'ctkd': dict(
        losses=[dict(type='mmdet_rankkd.CTKDLoss', length=28, by_epoch=False)],
    ),
    'fitnet': dict(
        losses=[
            dict(
                type='mmdet_rankkd.FitNetLoss',
                levels=(0, 1, 2, 3),
                loss_weight=1.0,
            )
        ],
    ),
    'fgfi': dict(
        losses=[dict(type='mmdet_rankkd.FGFILoss', levels=(0, 1, 2, 3))],
    ),
    'reviewkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.ReviewKDLoss',
                first=0,
                pooled=False,
                max_mid=64,
                loss_weight=2.0,
            )
        ],
    ),
}
_rank = dict(k=1.0, loss_weight=1.0)
rank = dict(kd=_rank, lskd=_rank, dkd=_rank, nkd=_rank)

# Each class by itself for heads with a sigmoid.
_dense = dict(
    logits=dict(type='mmdet_rankkd.DenseLogits'),
    kd=dict(type='mmdet_rankkd.BinaryKLDivLoss'),
)
pairs = {
    # Shipped with the configs; `make demo-teacher` trains it.
    'faster-rcnn': dict(
        teacher=dict(
            checkpoint='mmdet_rankkd::digits/'
            'faster-rcnn_r50-quarter_fpn_digits.pth'
        ),
    ),
    'retinanet': _dense,
    'fcos': _dense,
    'atss': _dense,
    'gfl': _dense,
    'rtmdet': _dense,
}
