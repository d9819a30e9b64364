"""Operations are counted, and time is taken of what is run."""

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from mmdet_rankkd.engine import cost
from mmdet_rankkd.engine.cost import measure_cost


class Tiny(BaseModel):
    """A convolution and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.fc = nn.Linear(8, 5)
        self.runs = 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.runs += 1
        data_samples.append('result')
        assert len(data_samples) == 1
        return [self.fc(self.conv(inputs).mean((2, 3)))]


@pytest.fixture
def clock(monkeypatch):
    """Each run takes one millisecond more than the one before."""
    reads = iter(range(1000))
    state = dict(now=0.0, run=0)

    def read():
        if next(reads) % 2:
            state['run'] += 1
            state['now'] += state['run'] / 1000
        return state['now']

    monkeypatch.setattr(cost.time, 'perf_counter', read)


def test_cost(clock):
    model = Tiny().eval()
    found = measure_cost(
        model, dict(inputs=torch.zeros(1, 3, 16, 24), data_samples=[])
    )
    assert found.parameters == 3 * 8 * 9 + 8 * 5 + 5
    # Two for each multiplication and the addition after it.
    assert found.flops == 2 * (3 * 8 * 9 * 16 * 24 + 8 * 5)
    assert found.size == (16, 24)
    assert model.runs == 1 + cost.WARM_UP + cost.RUNS
    # Of 5, 6, ... 24 ms: those before do not count.
    assert found.latency == pytest.approx((9.75, 14.5, 19.25))
    assert found.latency_text() == '14.5 (9.8 to 19.2) ms'
    assert found.threads == torch.get_num_threads()
    assert found.device == 'cpu'
