# Methods of Table 5, and its pair with two recipes. The choices that the paper
# leaves open are named in configs/coco/README.md.
_base_ = '../teachers/teacher_r50-caffe_coco.py'
task = 'detection'
student = 'mmdet_rankkd::coco/faster-rcnn_{}_coco.py'
logits = dict(type='mmdet_rankkd.RoILogits')

methods = {
    'alone': dict(losses=[]),
    'kd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.KLDivLoss', temperature=1.0, loss_weight=1.0
            )
        ],
    ),
    'rank': dict(
        losses=[
            dict(type='mmdet_rankkd.KendallRankLoss', k=1.0, loss_weight=1.0)
        ],
    ),
    'ctkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.CTKDLoss',
                length=7500,
                by_epoch=False,
                loss_weight=1.0,
            )
        ],
    ),
    # mdistiller's settings for this pair.
    'dkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.DKDLoss',
                alpha=1.0,
                beta=0.25,
                temperature=1.0,
                loss_weight=1.0,
            )
        ],
    ),
    'fitnet': dict(
        losses=[
            dict(
                type='mmdet_rankkd.FitNetLoss',
                levels=(0, 1, 2, 3, 4),
                loss_weight=1.0,
            )
        ],
    ),
    'fgfi': dict(
        losses=[
            dict(
                type='mmdet_rankkd.FGFILoss',
                levels=(0, 1, 2, 3, 4),
                mask_factor=0.5,
                loss_weight=0.01,
                schedule=dict(begin=400, by_epoch=False),
            )
        ],
    ),
    'reviewkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.ReviewKDLoss',
                first=0,
                pooled=False,
                max_mid=256,
                loss_weight=2.0,
            )
        ],
    ),
}
rank = {'kd': dict(k=1.0, loss_weight=1.0)}

pairs = {
    'r50_mobilenet-v2_fpn_180k': {},
    'r50_mobilenet-v2_fpn_1x': {'ctkd': dict(length=3700)},
}
