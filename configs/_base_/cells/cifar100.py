# Pairs and methods of the paper's CIFAR-100 tables. tools/make_config.py
# makes a config of one of each.

task = 'classification'
# Configs of the networks, and where a teacher's converted checkpoint is.
student = 'mmdet_rankkd::cifar100/{}_cifar100.py'
teacher = dict(
    config='mmdet_rankkd::cifar100/{}_cifar100.py',
    checkpoint='checkpoints/cifar100/{}.pth',
)

# Losses of each method, with `ce`, the weight of the student's own loss, and
# what its training does otherwise.
methods = {
    'alone': dict(losses=[]),
    'kd': dict(
        ce=0.1,
        losses=[
            dict(type='mmdet_rankkd.KLDivLoss', temperature=4, loss_weight=0.9)
        ],
    ),
    # KD with standardised logits; see 'mlkd-lskd' for the paper's row LSKD.
    'lskd': dict(
        ce=0.1,
        losses=[
            dict(
                type='mmdet_rankkd.KLDivLoss',
                standardized=True,
                temperature=2,
                loss_weight=9.0,
            )
        ],
    ),
    'ctkd': dict(
        ce=0.1,
        losses=[
            dict(type='mmdet_rankkd.CTKDLoss', length=10, loss_weight=0.9)
        ],
    ),
    'dkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.DKDLoss',
                alpha=1.0,
                beta=8.0,
                temperature=4,
                schedule=dict(warmup=20),
            )
        ],
    ),
    # MLKD, with and without standardised logits, as the code behind its
    # published numbers has it: weak logits in the last two strong terms.
    'mlkd': dict(
        ce=0.1,
        losses=[
            dict(
                type='mmdet_rankkd.MLKDLoss',
                temperatures=(4, 3, 5, 2, 6),
                reference_slip=True,
                loss_weight=0.9,
            )
        ],
        two_views=True,
        lr=0.025,
    ),
    'mlkd-lskd': dict(
        ce=0.1,
        losses=[
            dict(
                type='mmdet_rankkd.MLKDLoss',
                temperatures=(2, 3, 5, 2, 6),
                standardized=True,
                reference_slip=True,
                loss_weight=9.0,
            )
        ],
        two_views=True,
        lr=0.025,
        max_epochs=480,
    ),
    'dist': dict(
        losses=[
            dict(type='mmdet_rankkd.DISTLoss', temperature=4, loss_weight=2.0)
        ],
    ),
    'nkd': dict(
        losses=[dict(type='mmdet_rankkd.NKDLoss', temperature=3, gamma=3.5)],
    ),
    'fitnet': dict(
        losses=[
            dict(
                type='mmdet_rankkd.FitNetLoss', levels=(2,), loss_weight=100.0
            )
        ],
    ),
    'at': dict(
        losses=[dict(type='mmdet_rankkd.ATLoss', loss_weight=1000.0)],
    ),
    'ofd': dict(
        losses=[dict(type='mmdet_rankkd.OFDLoss', loss_weight=1e-3)],
    ),
    'crd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.CRDLoss',
                num_data=50000,
                loss_weight=0.8,
            )
        ],
        contrast=True,
    ),
    # Its weight is known of some pairs only; 5 is that of most of them.
    'reviewkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.ReviewKDLoss',
                loss_weight=5.0,
                schedule=dict(warmup=20),
            )
        ],
    ),
    'rank': dict(
        ce=0.1,
        losses=[dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=0.9)],
    ),
}
# `<method>+rank` adds this to the losses of the method. The paper sets gamma
# to the weight of the method; where a method has several, the choice is ours.
rank = {
    'kd': dict(loss_weight=0.9),
    'lskd': dict(loss_weight=9.0),
    'ctkd': dict(loss_weight=0.9),
    'dkd': dict(loss_weight=1.0),
    'mlkd': dict(loss_weight=0.9, view='both'),
    'mlkd-lskd': dict(loss_weight=9.0, view='both'),
    'dist': dict(loss_weight=2.0),
    'nkd': dict(loss_weight=1.0),
}

# Teacher and student, and what a method does otherwise for the pair.
pairs = {
    'resnet32x4_wrn-16-2': {
        'dkd': dict(beta=2.0),
        'lskd': dict(temperature=3),
    },
    'resnet32x4_wrn-40-2': {
        'dkd': dict(beta=8.0),
        'lskd': dict(temperature=3),
    },
    'resnet50_mobilenet-v2': {
        'dkd': dict(beta=8.0),
        'lskd': dict(temperature=3, loss_weight=1.0),
        'mlkd': dict(lr=0.01, max_epochs=480),
        'mlkd-lskd': dict(lr=0.01),
    },
    'resnet32x4_shufflenet-v1': {
        'dkd': dict(beta=8.0),
        'mlkd': dict(lr=0.01, max_epochs=960),
        'mlkd-lskd': dict(lr=0.01, max_epochs=960),
    },
    'wrn-40-2_shufflenet-v1': {
        'dkd': dict(beta=8.0),
        'mlkd': dict(lr=0.01, max_epochs=480),
        'mlkd-lskd': dict(lr=0.01),
    },
    'resnet32x4_resnet8x4': {'dkd': dict(beta=8.0)},
    'vgg13_vgg8': {
        'dkd': dict(beta=6.0),
        'lskd': dict(temperature=3),
        'mlkd-lskd': dict(lr=0.01, loss_weight=6.0),
    },
    'wrn-40-2_wrn-40-1': {'dkd': dict(beta=6.0)},
    'resnet110_resnet20': {
        'dkd': dict(beta=2.0),
        'lskd': dict(temperature=4, loss_weight=12.0),
    },
    # Of Tables 6, 7 and 11.
    'resnet32x4_shufflenet-v2': {
        'dkd': dict(beta=8.0),
        'reviewkd': dict(loss_weight=8.0),
        'mlkd': dict(lr=0.01, max_epochs=960),
        'mlkd-lskd': dict(lr=0.01, max_epochs=960, loss_weight=6.0),
    },
    'resnet56_resnet20': {
        'dkd': dict(beta=2.0),
        'reviewkd': dict(loss_weight=0.6),
    },
    'resnet110_resnet32': {
        'dkd': dict(beta=2.0),
    },
    'wrn-40-2_wrn-16-2': {'dkd': dict(beta=6.0)},
    'vgg13_mobilenet-v2': {
        'dkd': dict(beta=6.0),
        'lskd': dict(temperature=3),
        'mlkd': dict(lr=0.01, max_epochs=480),
        'mlkd-lskd': dict(lr=0.01, loss_weight=6.0),
    },
    'wrn-40-2_mobilenet-v2': {
        'dkd': dict(beta=8.0),
        'lskd': dict(temperature=3),
        'mlkd': dict(lr=0.01, max_epochs=480),
        'mlkd-lskd': dict(lr=0.005),
    },
    'resnet50_vgg8': {'dkd': dict(beta=6.0)},
}
