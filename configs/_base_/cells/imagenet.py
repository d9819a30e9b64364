# Pairs and methods of Tables 3 and 13.
task = 'classification'
student = 'mmdet_rankkd::imagenet/{}_imagenet.py'
teacher = dict(
    config='mmdet_rankkd::imagenet/{}_imagenet.py',
    checkpoint='checkpoints/imagenet/{}.pth',
)

methods = {
    'alone': dict(losses=[]),
    'kd': dict(
        ce=0.5,
        losses=[
            dict(type='mmdet_rankkd.KLDivLoss', temperature=1, loss_weight=0.5)
        ],
    ),
    'lskd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.KLDivLoss',
                standardized=True,
                temperature=2,
                loss_weight=9.0,
            )
        ],
    ),
    # 120 epochs and batches of 256 in its code.
    'ctkd': dict(
        losses=[dict(type='mmdet_rankkd.CTKDLoss', length=5, loss_weight=1.0)],
        max_epochs=120,
    ),
    'dkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.DKDLoss',
                alpha=1.0,
                beta=0.5,
                temperature=1,
                schedule=dict(warmup=1),
            )
        ],
    ),
    'dist': dict(
        losses=[
            dict(type='mmdet_rankkd.DISTLoss', temperature=1, loss_weight=2.0)
        ],
    ),
    'nkd': dict(
        losses=[dict(type='mmdet_rankkd.NKDLoss', temperature=1, gamma=1.5)],
    ),
    'at': dict(
        losses=[dict(type='mmdet_rankkd.ATLoss', loss_weight=1000.0)],
    ),
    # Batches of 128 and lr 0.05 in mdistiller.
    'ofd': dict(
        losses=[dict(type='mmdet_rankkd.OFDLoss', loss_weight=1e-4)],
    ),
    # Batches of 256 and lr 0.1 in mdistiller.
    'crd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.CRDLoss',
                num_data=1281167,
                loss_weight=0.8,
            )
        ],
        contrast=True,
    ),
    # Batches of 256 and lr 0.1 in mdistiller.
    'reviewkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.ReviewKDLoss',
                student_preacts=True,
                loss_weight=1.0,
                schedule=dict(warmup=1),
            )
        ],
    ),
    'rank': dict(
        ce=0.5,
        losses=[dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=0.5)],
    ),
}
rank = {
    'kd': dict(loss_weight=0.5),
    'lskd': dict(loss_weight=9.0),
    'ctkd': dict(loss_weight=1.0),
    'dkd': dict(loss_weight=1.0),
    'dist': dict(loss_weight=2.0),
    'nkd': dict(loss_weight=1.0),
}

# Side of the images that shapes of features are found with.
features = dict(probe_size=224)

pairs = {
    'resnet50_mobilenet-v1': {
        'dkd': dict(beta=2.0),
        'nkd': dict(clip_grad=5.0),
        'reviewkd': dict(loss_weight=8.0),
    },
    'resnet34_resnet18': {},
}
