"""Registries of this package: children of MMEngine's, scope `mmdet_rankkd`.

A type written with the prefix, `type='mmdet_rankkd.KendallRankLoss'`, is
found from any OpenMMLab project without an import.
"""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='mmdet_rankkd',
    locations=[
        'mmdet_rankkd.losses',
        'mmdet_rankkd.recorders',
        'mmdet_rankkd.models',
        'mmdet_rankkd.distillers',
    ],
)
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='mmdet_rankkd',
    locations=['mmdet_rankkd.engine.hooks'],
)
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='mmdet_rankkd',
    locations=['mmdet_rankkd.datasets'],
)
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='mmdet_rankkd',
    locations=['mmdet_rankkd.evaluation'],
)
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope='mmdet_rankkd',
    locations=['mmdet_rankkd.datasets'],
)
