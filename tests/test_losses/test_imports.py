"""Losses need torch and MMEngine, and neither MMDetection nor mmcv."""

import subprocess
import sys

CODE = """
import sys
import torch, mmengine, mmengine.dist
before = set(sys.modules)
import mmdet_rankkd.losses
print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))
print(*sorted(name for name in sys.modules if name.startswith('mmdet_rankkd')))
from mmdet_rankkd.losses import kendall_rank_loss
kendall_rank_loss(*torch.randn(2, 4, 5, requires_grad=True)).backward()
print(*sorted({'mmcv', 'mmdet', 'torchvision'} & set(sys.modules)))
"""


def test_what_an_import_brings():
    done = subprocess.run(
        [sys.executable, '-c', CODE],
        capture_output=True,
        text=True,
        check=True,
    )
    packages, own, later = done.stdout.splitlines()
    standard = sys.stdlib_module_names
    assert set(packages.split()) - standard <= {'mmdet_rankkd', 'mmengine'}
    rooms = {name.split('.')[1] for name in own.split() if '.' in name}
    assert rooms <= {
        'checkpoint',
        'compat',
        'losses',
        'ops',
        'registry',
        'structures',
        'version',
    }
    assert later == ''
