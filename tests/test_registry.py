"""The same prefixed type works from every registry and scope."""

import subprocess
import sys

import mmdet.registry
import mmengine.registry
import pytest
from mmengine.registry import DefaultScope, Registry

import mmdet_rankkd.registry
from mmdet_rankkd.losses import KendallRankLoss

FOREIGN = Registry(
    'model', parent=mmengine.registry.MODELS, scope='some_project'
)
CONFIG = dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=0.9)


@pytest.mark.parametrize(
    'registry',
    [
        mmengine.registry.MODELS,
        mmdet.registry.MODELS,
        FOREIGN,
        mmdet_rankkd.registry.MODELS,
    ],
)
@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'some_project'])
def test_prefixed_types(registry, scope):
    with DefaultScope.overwrite_default_scope(scope):
        loss = registry.build(dict(CONFIG))
    assert isinstance(loss, KendallRankLoss)
    assert loss.loss_weight == 0.9


def test_no_import_of_ours_is_needed():
    code = (
        'from mmengine.registry import MODELS, HOOKS, DATASETS, METRICS\n'
        'assert MODELS.build(dict(type="mmdet_rankkd.KLDivLoss"))\n'
        'assert MODELS.get("mmdet_rankkd.DistillDetector")\n'
        'assert MODELS.get("mmdet_rankkd.RoILogits")\n'
        'assert HOOKS.get("mmdet_rankkd.TauHook")\n'
        'assert HOOKS.get("mmdet_rankkd.BestHook")\n'
        'assert METRICS.get("mmdet_rankkd.TopKAccuracy")\n'
        'assert DATASETS.get("mmdet_rankkd.DigitsDataset")\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_register_all_modules():
    code = (
        'from mmdet_rankkd.utils import register_all_modules\n'
        'register_all_modules(init_default_scope=True)\n'
        'from mmdet_rankkd import registry\n'
        'for kind, name in (("MODELS", "ImageClassifier"), '
        '("HOOKS", "TauHook"), ("METRICS", "TopKAccuracy"), '
        '("MODELS", "RoILogits"), ("DATASETS", "CIFAR100")):\n'
        '    assert name in getattr(registry, kind).module_dict, name\n'
        'from mmengine.registry import DefaultScope\n'
        'scope = DefaultScope.get_current_instance().scope_name\n'
        'assert scope == "mmdet", scope\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
