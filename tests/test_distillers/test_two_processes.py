"""Two processes give the gradients of one with the same global batch.

The whole list of cases is that of tests/trust/processes.py.
"""

import json

import pytest
from mmengine.config import Config

from mmdet_rankkd.engine.launch import build_runner, refuse_shards

from ..helpers import ROOT
from ..programs import run_two_processes

CASES = (
    'roi, positives',
    'cascade, chosen rows',
    'retinanet, two resolutions',
    'fgfi',
)


@pytest.fixture(scope='module')
def found():
    out = run_two_processes(ROOT / 'tests/trust/processes.py', *CASES)
    lines = [x for x in out.splitlines() if x.startswith('{')]
    return [json.loads(x) for x in lines]


@pytest.mark.parametrize('name', CASES)
def test_gradients(name, found):
    """Unequal counts, an empty image, a process without any object."""
    cases = [x for x in found if x['case'] == name]
    assert len(cases) == 3
    for case in cases:
        assert case['gradient'] > 0
        assert case['difference'] < 1e-5, case
        assert case['loss_difference'] < 1e-5 * max(1, abs(case['loss']))


FSDP = """
import json, tempfile
from pathlib import Path
import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.model.wrappers import MMFullyShardedDataParallel
from mmengine.optim import OptimWrapper
from tests.setups import (
    SETUPS, batch_of, build_model, distiller_config, save_teacher)

torch.set_num_threads(1)
dist.init_process_group('gloo')
setup = SETUPS['classifier']()
file = Path(tempfile.mkdtemp()) / 'teacher.pth'
save_teacher(setup, file)
losses = [setup.loss('KLDivLoss'), setup.loss('KendallRankLoss')]
options = dict(device_id=torch.device('cpu'), use_orig_params=True)
for wrap in (MMDistributedDataParallel,
             lambda x: MMFullyShardedDataParallel(x, **options)):
    torch.manual_seed(0)
    model = build_model(distiller_config(setup, file, losses))
    model.init_weights()
    whole = sum(x.numel() for x in model.parameters())
    model = wrap(model).train()
    held = sum(x.numel() for x in model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    wrapper = OptimWrapper(optimizer)
    found = []
    for step in range(3):
        data = batch_of(setup, 2 * step + dist.get_rank())
        data.pop('strong_inputs')
        logs = model.train_step(data, wrapper)
        found.append({k: float(v) for k, v in logs.items() if 'loss' in k})
    if dist.get_rank() == 0:
        print(json.dumps(dict(held=held / whole, steps=found)))
    try:
        model.state_dict()
    except AssertionError as error:
        if dist.get_rank() == 0:
            print('no state dict:', error)
"""


def test_fsdp_trains_as_ddp_does_and_cannot_save():
    """Why `rankkd train` refuses FSDP; the pages say what works of it."""
    out = run_two_processes(FSDP)
    ddp, fsdp = [json.loads(x) for x in out.splitlines() if x.startswith('{')]
    assert ddp['held'] == 1 and 0.4 < fsdp['held'] < 0.6
    assert len(ddp['steps']) == 3
    for one, other in zip(ddp['steps'], fsdp['steps']):
        assert other == pytest.approx(one, rel=1e-5, abs=1e-6)
    assert 'no state dict: FSDP assumes student.' in out


def test_fsdp_is_refused():
    model = dict(type='mmdet_rankkd.DistillClassifier')
    cfg = Config(dict(model=model, strategy=dict(type='FSDPStrategy')))
    with pytest.raises(ValueError, match='cannot save the checkpoints'):
        build_runner(cfg)
    refuse_shards(Config(dict(model=model, strategy=dict(type='DDPStrategy'))))
    refuse_shards(Config(dict(cfg, model=dict(type='mmdet.FasterRCNN'))))
    refuse_shards(Config({}))
