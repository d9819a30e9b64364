"""Weights of terms by the norms of their gradients."""

import math

import pytest
import torch
from mmengine.hooks import Hook

from mmdet_rankkd.engine.hooks import BalanceHook
from mmdet_rankkd.engine.hooks.balance_hook import measure
from mmdet_rankkd.registry import HOOKS

from ...helpers import build, make_runner, raw_batch

LOSSES = [
    dict(type='mmdet_rankkd.KLDivLoss', loss_weight=3.0),
    dict(type='mmdet_rankkd.FitNetLoss', levels=(0, 1), loss_weight=0.1),
    dict(
        type='mmdet_rankkd.KendallRankLoss',
        schedule=dict(warmup=4, by_epoch=False),
    ),
]


@HOOKS.register_module()
class WatchHook(Hook):
    """Keeps the weights of each iteration, and may put them back."""

    priority = 'HIGH'  # behind BalanceHook

    def __init__(self, put_back=False):
        self.put_back = put_back
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        losses = runner.model.losses
        self.seen.append({n: x.loss_weight for n, x in losses.items()})
        if self.put_back:
            for loss, settings in zip(losses.values(), LOSSES):
                loss.loss_weight = settings.get('loss_weight', 1.0)


@pytest.fixture
def cfg(distill_cfg):
    """Three iterations an epoch."""
    distill_cfg.model.losses = LOSSES
    distill_cfg.val_cfg = None
    distill_cfg.val_dataloader = distill_cfg.val_evaluator = None
    return distill_cfg


def train(cfg, *hooks, **settings):
    """The runner of a training with these hooks, and what was seen."""
    watch = [dict(type='mmdet_rankkd.WatchHook')]
    cfg.custom_hooks = [*(hooks or ()), *watch]
    runner = make_runner(cfg, **settings)
    runner.train()
    (found,) = (x for x in runner.hooks if isinstance(x, WatchHook))
    return runner, found.seen


def balance(**settings):
    return dict(type='mmdet_rankkd.BalanceHook', **settings)


def own_norm(losses, names, model):
    """Gradient norm at backbone and neck, by torch's own backward."""
    model.zero_grad(set_to_none=True)
    model.parse_losses({k: losses[k] for k in names})[0].backward(
        retain_graph=True
    )
    squares = [
        p.grad.double().square().sum()
        for n, p in model.student.named_parameters()
        if n.startswith(('backbone', 'neck')) and p.grad is not None
    ]
    return math.sqrt(sum(squares))


def test_norms(cfg):
    """Equal to those of backward passes, term by term; nothing is left."""
    cfg.model.losses = LOSSES[:2]
    model = build(cfg.model).train()
    data = raw_batch()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    numbers = torch.get_rng_state()
    norms = measure(model, data)
    assert torch.equal(numbers, torch.get_rng_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(p.grad is None for p in model.parameters())
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    own = [k for k in losses if k not in model.losses and 'loss' in k]
    expected = {'student': own_norm(losses, own, model)}
    for name in model.losses:
        expected[name] = own_norm(losses, [name], model)
    assert norms == pytest.approx(expected, rel=1e-6)
    assert min(norms.values()) > 0


def test_weights_give_the_ratios(cfg):
    """After one measurement, the next of the same batch has the ratio."""
    ratios = dict(loss_kd=0.5, loss_fitnet=0.2)
    cfg.optim_wrapper.optimizer.lr = 0.0
    cfg.train_dataloader.batch_size = 6  # one iteration, all the images
    cfg.model.losses = LOSSES[:2]
    runner, (seen,) = train(cfg, balance(ratios=ratios, steps=1))
    assert seen['loss_kd'] != 3.0
    for name in ratios:
        assert runner.model.losses[name].loss_weight == seen[name]
    norms = measure(runner.model, next(iter(runner.train_dataloader)))
    for name, ratio in ratios.items():
        # Boxes are sampled anew.
        assert norms[name] / norms['student'] == pytest.approx(ratio, rel=0.3)


def test_the_mean_is_that_of_logarithms():
    hook = BalanceHook(ratios=0.5, interval=1, momentum=0.75, steps=2)
    loss = torch.nn.Identity()
    loss.current_weight = 2.0
    model = torch.nn.Module()
    model.losses = torch.nn.ModuleDict(dict(loss_kd=loss))
    for done, norm in enumerate((1.0, 4.0, 16.0)):
        hook.note(model, dict(student=8.0, loss_kd=norm), done)
        hook.note(model, dict(student=8.0, loss_kd=0.0), done)
    quotients = [math.log(16 / norm) for norm in (1.0, 4.0, 16.0)]
    first = sum(quotients[:2]) / 2
    (mean, count) = hook.means['loss_kd']
    assert count == 3
    assert mean == pytest.approx(0.75 * first + 0.25 * quotients[2])


def test_when_it_measures(cfg):
    cfg.train_cfg.max_epochs = 2
    _, seen = train(cfg, balance(steps=2))
    kd = [x['loss_kd'] for x in seen]
    assert len({3.0, *kd[:2]}) == 3 and len(set(kd[1:])) == 1
    _, seen = train(cfg, balance(steps=1, interval=2))
    kd = [x['loss_kd'] for x in seen]
    assert kd[0] == kd[1] != kd[2] == kd[3] != kd[4] == kd[5]
    _, seen = train(cfg, balance(steps=2, ratios=dict(loss_fitnet=1.0)))
    assert {x['loss_kd'] for x in seen} == {3.0}
    assert len({x['loss_fitnet'] for x in seen}) == 2


def test_measuring_changes_nothing_else(cfg):
    """With the weights put back, the training is what it was without."""
    plain, _ = train(cfg)
    cfg.custom_hooks = [
        balance(steps=3),
        dict(type='mmdet_rankkd.WatchHook', put_back=True),
    ]
    measured = make_runner(cfg)
    measured.train()
    weights = measured.model.state_dict()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_resumed(cfg, tmp_path):
    """Means go on where they were; the training is that in one go."""
    hooks = [
        dict(type='mmdet_rankkd.ExactResumeHook'),
        balance(steps=5, interval=2),
    ]
    cfg.train_cfg.max_epochs = 2
    whole, seen = train(cfg, *hooks)
    cfg.train_cfg.max_epochs = 1
    cfg.work_dir = str(tmp_path / 'parts')
    train(cfg, *hooks)
    cfg.train_cfg.max_epochs = 2
    resumed, rest = train(cfg, *hooks, resume=True)
    assert rest == seen[3:]
    found = resumed.model.state_dict()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, found[name]), name


def test_mistakes(cfg, student_cfg):
    for settings, said in (
        (dict(ratios=0), 'ratios must be positive'),
        (dict(ratios={}), 'ratios must be positive'),
        (dict(steps=0), 'steps and interval must be positive'),
        (dict(momentum=1), r'momentum must be in \[0, 1\)'),
    ):
        with pytest.raises(ValueError, match=said):
            BalanceHook(**settings)
    with pytest.raises(ValueError, match=r"no terms \['loss_x'\]; there are"):
        train(cfg, balance(ratios=dict(loss_x=1.0)))
    with pytest.raises(TypeError, match='not of a FasterRCNN'):
        train(student_cfg, balance())
