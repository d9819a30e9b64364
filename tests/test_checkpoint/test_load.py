"""Weights that do not fit their model are refused, and say why."""

import pytest
import torch
from torch import nn

from mmdet_rankkd.checkpoint.load import first_few, load_weights


def test_load_weights():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    weights.pop('1.num_batches_tracked')  # not in files of torch < 0.4.1
    prefixed = {f'module.{k}': v for k, v in weights.items()}
    assert load_weights(model, prefixed, 'x') == []
    assert load_weights(model, dict(weights, extra=torch.ones(1)), 'x') == [
        'extra'
    ]
    short = dict(weights)
    short.pop('0.bias')
    with pytest.raises(ValueError, match='1 missing .first: 0.bias'):
        load_weights(model, short, 'x')
    with pytest.raises(ValueError, match=r'\(3, 2\) in the file'):
        load_weights(model, {**weights, '0.weight': torch.ones(3, 2)}, 'x')
    bad = torch.tensor([1.0, float('inf')])
    with pytest.raises(ValueError, match='non-finite.*0.bias'):
        load_weights(model, {**weights, '0.bias': bad}, 'x')
    with pytest.raises(ValueError, match='no tensors .*0.bias'):
        load_weights(model, {**weights, '0.bias': 0.5}, 'x')
    # The file of another project, as a whole.
    with pytest.raises(ValueError, match='0 of 7 .*rankkd convert'):
        load_weights(model, dict(epoch=3, model=weights), 'x')


def test_first_few():
    assert first_few('abc') == 'a, b, c'
    assert first_few('abcde', 2) == 'a, b and 3 more'
