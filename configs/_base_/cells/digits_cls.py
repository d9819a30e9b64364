# Pairs and methods of `make demo-cls`: those of CIFAR-100, with the steps
# that are counted in epochs shortened from 240 epochs to 20.
_base_ = './cifar100.py'
student = 'mmdet_rankkd::digits_cls/{}_digits-cls.py'
# Shipped with the configs; `make demo-cls-teacher` trains it.
teacher = dict(
    config='mmdet_rankkd::digits_cls/{}_digits-cls.py',
    checkpoint='mmdet_rankkd::digits_cls/{}_digits-cls.pth',
)

methods = {
    'ctkd': dict(
        losses=[dict(type='mmdet_rankkd.CTKDLoss', length=2, loss_weight=0.9)]
    ),
    'dkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.DKDLoss',
                alpha=1.0,
                beta=2.0,
                temperature=4,
                schedule=dict(warmup=2),
            )
        ]
    ),
    'crd': dict(
        losses=[
            dict(type='mmdet_rankkd.CRDLoss', num_data=6000, loss_weight=0.8)
        ]
    ),
    # MLKD as its paper has it; nothing published is reproduced here.
    'mlkd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.MLKDLoss',
                temperatures=(4, 3, 5, 2, 6),
                reference_slip=False,
                loss_weight=0.9,
            )
        ],
        lr=1e-2,
    ),
    'mlkd-lskd': dict(
        losses=[
            dict(
                type='mmdet_rankkd.MLKDLoss',
                temperatures=(2, 3, 5, 2, 6),
                standardized=True,
                reference_slip=False,
                loss_weight=9.0,
            )
        ],
        lr=1e-2,
        max_epochs=20,
    ),
}
pairs = {'_delete_': True, 'resnet14x2_resnet8': {}}
