"""The loss around a model."""

import numpy as np
import pytest
import torch
from torch import nn

from mmdet_rankkd.experiments import figures as F
from mmdet_rankkd.experiments.figures.landscape import direction


def bowl(model):
    """Square of the distance of the weights from where they were set."""
    return (model.weight - 1).square().sum() + model.bias.sum()


@pytest.fixture
def model():
    layer = nn.Linear(3, 4).eval()
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def test_directions_are_as_long_as_the_filters():
    weights = torch.randn(6, 3, 2, 2) * torch.arange(6.0).view(6, 1, 1, 1)
    found = direction(weights, torch.Generator().manual_seed(0))
    lengths = [x.flatten(1).norm(dim=1) for x in (found, weights)]
    torch.testing.assert_close(*lengths)
    assert not torch.allclose(found, weights)


def test_landscape_of_a_bowl(model):
    """Each of four filters of length 3**0.5: 12 at distance 1 in a plane."""
    before = {k: v.clone() for k, v in model.state_dict().items()}
    grid = F.landscape(model, bowl, radius=1.0, points=5, seed=3)
    assert grid.shape == (5, 5) and grid[2, 2] == 0
    assert grid[2, 0] == pytest.approx(12, rel=1e-5)
    assert grid[2, 4] == pytest.approx(12, rel=1e-5)
    assert grid[0, 2] == pytest.approx(12, rel=1e-5)
    assert grid[2, 3] == pytest.approx(3, rel=1e-5)
    assert F.local_minima(grid) == 1
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), 'the model is left alone'
    again = F.landscape(model, bowl, points=5, seed=3)
    np.testing.assert_array_equal(grid, again)
    assert not np.allclose(grid, F.landscape(model, bowl, points=5, seed=4))


def test_local_minima():
    x, y = np.meshgrid(np.arange(13), np.arange(13))
    two = np.minimum((x - 3) ** 2 + (y - 6) ** 2, (x - 9) ** 2 + (y - 6) ** 2)
    assert F.local_minima(two.astype(float)) == 2
    assert F.local_minima(np.zeros((5, 5))) == 0
    assert F.local_minima(x.astype(float)) == 0, 'the rim does not count'


def test_what_is_refused(model):
    with pytest.raises(ValueError, match='odd and 3 or more, got 4'):
        F.landscape(model, bowl, points=4)
    with pytest.raises(ValueError, match='call eval'):
        F.landscape(model.train(), bowl)


def test_caption_and_picture(model):
    steep = nn.Linear(3, 4).eval()
    nn.init.constant_(steep.weight, 3.0)
    nn.init.zeros_(steep.bias)

    def loss(m):
        return (m.weight - m.weight.mean()).square().sum() + 0.1

    found = F.landscapes(
        {'KD': [steep, steep], 'both': [model, model]},
        loss,
        'A bowl',
        7,
        [0, 1],
        points=5,
    )
    caption = found.caption()
    assert caption.startswith('A bowl, on 7 held-out images')
    assert '5 x 5 points' in caption and '2 seeds' in caption
    # Three times the weights: nine times the rise.
    rise = [np.mean(g) - np.array(g)[2, 2] for g in found.grids['both']]
    other = [np.mean(g) - np.array(g)[2, 2] for g in found.grids['KD']]
    np.testing.assert_allclose(other, 9 * np.array(rise), rtol=1e-3)
    assert 'both has 1.0 local minima, and its loss rises by ' in caption
    assert f'{np.mean(rise):.2f} on average' in caption
    figure = found.draw()
    assert [a.get_title() for a in figure.axes[:2]] == ['KD', 'both']
