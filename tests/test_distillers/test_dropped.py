"""Nothing is left of a step, nor of a distiller that was dropped."""

import copy
import gc
from collections import Counter

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from ..helpers import allocations
from ..setups import (
    SETUPS,
    batch_of,
    build_model,
    distiller_config,
    save_teacher,
)


def alive():
    """Numbers of live objects of this package and of modules and tensors."""
    gc.collect()
    kinds = [type(x) for x in gc.get_objects()]
    own = Counter(
        kind.__name__
        for kind in kinds
        if str(kind.__module__).split('.')[0] == 'mmdet_rankkd'
    )
    own['modules'] = sum(issubclass(kind, nn.Module) for kind in kinds)
    own['tensors'] = sum(issubclass(kind, torch.Tensor) for kind in kinds)
    return own


def one_step(name, checkpoint):
    """A distiller with every loss that is for it, after a step."""
    setup = SETUPS[name]()
    if not checkpoint.is_file():
        save_teacher(setup, checkpoint)
    losses = [setup.loss(x) for x in setup.losses()]
    model = build_model(distiller_config(setup, checkpoint, losses))
    model.init_weights()
    wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type='SGD', lr=0.01))
    )
    model.train().train_step(batch_of(setup), wrapper)
    return model


@pytest.mark.parametrize('name', ['gfl', 'classifier'])
def test_nothing_is_left(name, tmp_path):
    checkpoint = tmp_path / 'teacher.pth'
    one_step(name, checkpoint)  # what is cached once for all
    before = alive()
    model = one_step(name, checkpoint)
    more = alive() - before
    assert more[type(model).__name__] == more['Teacher'] == 1
    del model
    assert alive() - before == Counter()


def left_by(function):
    """Bytes of tensors that a call leaves to Python's garbage collector."""
    function()  # what is kept once for all
    gc.collect()
    gc.disable()
    try:
        return sum(allocations(function))
    finally:
        gc.enable()


def test_a_tensor_that_is_left_is_seen():
    def leave():
        cycle = [torch.ones(1024)]
        cycle.append(cycle)

    assert left_by(leave) == 4096
    assert left_by(lambda: torch.ones(1024)) == 0


@pytest.mark.parametrize('name', SETUPS)
def test_a_step_leaves_no_tensor_to_the_garbage_collector(name, tmp_path):
    """Else memory would rise until Python collects, and fall, and rise.

    MMDetection's own step leaves some kilobytes in some detectors, and not
    always the same.
    """
    model = one_step(name, tmp_path / 'teacher.pth')
    batch = model.data_preprocessor(batch_of(SETUPS[name]()), True)
    plain = {k: batch[k] for k in ('inputs', 'data_samples')}

    def step(network, data):
        torch.manual_seed(0)  # samplers draw boxes
        losses = network(**copy.deepcopy(data), mode='loss')
        model.parse_losses(losses)[0].backward()
        model.zero_grad()

    own = left_by(lambda: step(model.student, plain))
    assert left_by(lambda: step(model, batch)) <= own + 2048
    assert own < 2**17
