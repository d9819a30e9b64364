"""Seeded maps and checks that tests of feature losses share."""

import torch

from mmdet_rankkd.structures import Features


def maps(*shape, seed=0):
    """A map of normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def features(*shapes, pooled=5, seed=0):
    """Features of two images with maps of these channels and sizes."""
    pre = [
        maps(2, c, n, n, seed=seed + i).float()
        for i, (c, n) in enumerate(shapes)
    ]
    last = maps(2, pooled, seed=seed + 99).float() if pooled else None
    return Features([p.relu() for p in pre], pre, last)


def gradcheck(function, *inputs):
    """Compare the gradients of a function with finite differences."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(function, inputs)


def value_and_gradient(function, student, *rest):
    """A loss, and the sum of its gradient's absolute values, as numbers."""
    student = student.clone().requires_grad_()
    value = function(student, *rest)
    value.backward()
    return value.item(), student.grad.abs().sum().item()
