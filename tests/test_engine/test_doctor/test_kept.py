"""What is kept for the way back is what autograd saves, once."""

import torch
from torch import nn

from mmdet_rankkd.engine.doctor.kept import Kept, weight_bytes


def test_layers():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    kept = Kept(model)
    inputs = torch.randn(10, 8)
    with kept.part('student'):
        logits = model(inputs)
        with kept.part('loss'):
            # Its own square root, and logits that nobody had kept.
            value = (logits**2 + 1).sqrt().sum()
    # The inputs, and what the first layer gives: the ReLU keeps it too.
    assert kept.bytes == dict(student=10 * (8 + 16) * 4, loss=10 * 8 * 4)
    value.backward()
    assert all(p.grad.any() for p in model.parameters())
    assert weight_bytes(model) == 4 * (8 * 16 + 16 + 16 * 4 + 4)


def test_gradients_are_the_same():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True))
    inputs = torch.randn(2, 3, 9, 9)
    found = []
    for counted in (False, True):
        model.zero_grad()
        with Kept(model).part('all') if counted else torch.enable_grad():
            value = model(inputs).square().sum()
        value.backward()
        found.append([p.grad.clone() for p in model.parameters()])
    assert all(map(torch.equal, *found))


def test_nothing_is_kept_without_gradients():
    model = nn.Linear(8, 16)
    kept = Kept(model)
    with kept.part('teacher'), torch.no_grad():
        model(torch.randn(10, 8))
    assert kept.bytes == dict(teacher=0)
