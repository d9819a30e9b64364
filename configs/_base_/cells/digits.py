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
        only=['faster-rcnn'],
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
        only=['faster-rcnn'],
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
        only=['faster-rcnn'],
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
        only=['faster-rcnn', 'retinanet', 'atss', 'gfl'],
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
    'pkd': dict(
        losses=[dict(type='mmdet_rankkd.PKDLoss', loss_weight=6.0)],
    ),
    'cwd': dict(
        losses=[dict(type='mmdet_rankkd.CWDLoss', loss_weight=10.0)],
    ),
    # Sums over channels and places: the published weights times the ratio of
    # these numbers on COCO, 800 x 1333 pixels and 256 channels, and here, 64
    # x 64 and 64 channels. They are not tuned.
    'mgd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.MGDLoss',
                levels=(0, 1, 2, 3),
                mask_ratio=0.45,
                loss_weight=5e-4,
            )
        ],
    ),
    'fgd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.FGDLoss',
                levels=(0, 1, 2, 3),
                foreground_weight=2e-4,
                background_weight=1e-4,
                attention_weight=1.3e-2,
                global_weight=5e-4,
            )
        ],
    ),
    'ld': dict(losses=[dict(type='mmdet_rankkd.LDLoss')], only=['gfl']),
    'crosskd': dict(
        losses=[dict(type='mmdet_rankkd.CrossKDLoss')],
        only=['retinanet', 'fcos', 'atss', 'gfl', 'rtmdet'],
    ),
}
rank = {
    method: dict(k=1.0, loss_weight=1.0)
    for method in (
        'kd',
        'lskd',
        'dkd',
        'nkd',
        'pkd',
        'cwd',
        'mgd',
        'fgd',
        'ld',
        'crosskd',
    )
}

# Each class by itself for heads with a sigmoid.
_dense = dict(
    logits=dict(type='mmdet_rankkd.DenseLogits'),
    kd=dict(type='mmdet_rankkd.BinaryKLDivLoss'),
    mgd=dict(mask_ratio=0.65, loss_weight=5e-3),
    fgd=dict(
        foreground_weight=4e-3,
        background_weight=2e-3,
        attention_weight=3.2e-2,
        global_weight=1.3e-3,
    ),
)
_fcos = dict(class_weight=0.4, box_weight=0.75, overlap='iou')
pairs = {
    # Shipped with the configs; `make demo-teacher` trains it.
    'faster-rcnn': dict(
        teacher=dict(
            checkpoint='mmdet_rankkd::digits/'
            'faster-rcnn_r50-quarter_fpn_digits.pth'
        ),
    ),
    'retinanet': dict(_dense, pkd=dict(loss_weight=10.0)),
    'fcos': dict(_dense, crosskd=_fcos),
    'atss': _dense,
    # Not of maps of classes, as published for it: they gave 15 AP less.
    'gfl': dict(_dense, cwd=dict(maps='features', loss_weight=10.0)),
    'rtmdet': _dense,
}
