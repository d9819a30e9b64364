"""A training whose loss is not finite stops and says where."""

import json
import math
import os

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmdet_rankkd.checkpoint.read import read_checkpoint
from mmdet_rankkd.engine.hooks import NonFiniteHook
from mmdet_rankkd.registry import HOOKS
from mmdet_rankkd.structures import ClsDataSample

from ...helpers import make_runner

STEPS = 8


class Toy(BaseModel):
    """Two losses, one of which is what a table says at some images.

    Args:
        table (dict): ``loss_two`` of an image by its number, from 0.
        gradients (dict): The same for what its gradient is multiplied with.
    """

    def __init__(self, table=(), gradients=(), norm=False):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2) if norm else nn.Identity()
        self.table, self.gradients = dict(table), dict(gradients)

    def forward(self, inputs, data_samples, mode='tensor'):
        number = int(inputs[0, 0])
        value = self.norm(self.linear(inputs)).square().mean()
        if number in self.table:
            value = value * self.table[number]
        if number in self.gradients:
            value.register_hook(lambda g: g * self.gradients[number])
        return dict(
            loss_one=self.linear.weight.square().mean(),
            loss_two=value,
            kendall_tau=torch.tensor(math.nan),
        )


def loader():
    """Batches of two images, the number of the batch in the first pixel."""
    images = [
        dict(
            inputs=torch.full((3,), number + 0.5 * index),
            data_samples=ClsDataSample(
                metainfo=dict(img_path=f'{number}-{index}.png')
            ),
        )
        for number in range(STEPS)
        for index in range(2)
    ]
    return DataLoader(images, batch_size=2, collate_fn=collate)


def collate(images):
    return dict(
        inputs=torch.stack([x['inputs'] for x in images]),
        data_samples=[x['data_samples'] for x in images],
    )


@pytest.fixture
def train(tmp_path):
    """Train the toy with the hook; returns the runner."""

    def run(model, every=1, accumulate=1, hooks=(), **settings):
        train.count += 1
        torch.manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        runner = Runner(
            model,
            str(tmp_path),
            train_dataloader=loader(),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(
                type='OptimWrapper',
                optimizer=dict(type='SGD', lr=0.01),
                accumulative_counts=accumulate,
            ),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=every),
                checkpoint=dict(
                    type='CheckpointHook', by_epoch=False, interval=1
                ),
                finite=dict(type='mmdet_rankkd.NonFiniteHook', **settings),
            ),
            custom_hooks=list(hooks),
            experiment_name=f'non-finite-{os.getpid()}-{train.count}',
            log_level='WARNING',
        )
        runner.train()
        return runner

    train.count = getattr(train, 'count', 0)
    return run


def stopped(train, *args, **settings):
    """The message, and the state that it names."""
    with pytest.raises(FloatingPointError) as caught:
        train(*args, **settings)
    message = str(caught.value)
    (name,) = [x for x in message.split() if x.rstrip('.').endswith('.json')]
    with open(name.rstrip('.')) as file:
        return message, json.load(file)


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_term_step_images_and_file(train, value, tmp_path):
    message, state = stopped(train, Toy({3: value}))
    assert f'loss_two is {value}, loss is {value} at iteration 4' in message
    assert 'epoch 1' in message and 'loss_one' not in message
    assert 'img_path 3-0.png, img_path 3-1.png' in message
    assert 'lower learning rate' in message
    assert state['iteration'] == 4
    assert state['losses'][-1]['loss_two'] == str(value)
    assert [x['img_path'] for x in state['images']] == ['3-0.png', '3-1.png']
    weight, bias = state['parameters']
    assert weight['name'] == 'linear.weight' and weight['shape'] == [2, 3]
    assert state['norms_before_are_of_iteration'] == 3
    assert weight['norm_before'] > 0 and weight['non_finite'] == 6
    assert state['learning_rate'] == dict(lr=[0.01])
    # The newest checkpoint is of the step before, and intact.
    assert sorted(x.name for x in tmp_path.glob('iter_*.pth')) == [
        f'iter_{i}.pth' for i in (1, 2, 3)
    ]


def test_no_file_is_overwritten(train, tmp_path):
    for count in (1, 2, 3):
        stopped(train, Toy({3: math.nan}))
        assert len(list(tmp_path.glob('non_finite-*.json'))) == count


def test_on_a_device_it_is_looked_at_once_an_interval(train, monkeypatch):
    """All of the interval's steps are kept, and the first bad one is named."""
    looks = []
    look = NonFiniteHook.look
    monkeypatch.setattr(
        NonFiniteHook,
        'look',
        lambda self, runner: (looks.append(runner.iter), look(self, runner)),
    )

    class Elsewhere(Toy):
        """Losses as of another device, as far as the hook sees."""

        def train_step(self, data, optim_wrapper):
            logs = super().train_step(data, optim_wrapper)
            return {k: OnDevice(v) for k, v in logs.items()}

    class OnDevice(torch.Tensor):
        @property
        def device(self):
            return torch.device('meta')

        def __new__(cls, value):
            return value.detach().as_subclass(cls)

    hooks = [NoCheckpoints()]
    message, state = stopped(
        train, Elsewhere({3: math.nan}), every=5, hooks=hooks
    )
    assert looks == [4]
    assert 'at iteration 4' in message and '3-0.png' in message
    assert [x['iteration'] for x in state['losses']] == [1, 2, 3, 4]


class NoCheckpoints(Hook):
    """Take the hook that saves away."""

    priority = 'VERY_HIGH'

    def before_run(self, runner):
        kind = 'CheckpointHook'
        runner._hooks = [x for x in runner.hooks if type(x).__name__ != kind]


def test_a_gradient_alone(train, tmp_path):
    """The losses are finite; no checkpoint is written of the weights."""
    message, state = stopped(train, Toy(gradients={3: math.nan}))
    assert 'weights are not finite (linear.weight, linear.bias)' in message
    assert not (tmp_path / 'iter_4.pth').exists()
    saved = read_checkpoint(tmp_path / 'iter_3.pth')['state_dict']
    assert all(x.isfinite().all() for x in saved.values())


@pytest.mark.parametrize('accumulate', [1, 2])
def test_steps_are_skipped_and_counted(train, accumulate, tmp_path):
    table, gradients = {3: math.nan}, {6: math.inf}
    runner = train(
        Toy(table, gradients), accumulate=accumulate, skip=2, every=3
    )
    assert runner.message_hub.get_info('skipped_steps') == 2
    assert runner.iter == STEPS
    assert all(x.isfinite().all() for x in runner.model.parameters())
    assert 'step' not in vars(runner.optim_wrapper)
    (log,) = tmp_path.glob('*/*.log')
    said = log.read_text()
    assert 'the step of iteration 4 is left out' in said
    assert '(2 so far, 2 allowed)' in said
    message, _ = stopped(
        train, Toy(table, gradients), accumulate=accumulate, skip=1
    )
    assert '2 steps of the optimizer would have been left out' in message


def test_a_skipped_step_changes_no_weight(train):
    class Noting(Hook):
        priority = 'HIGHEST'
        seen = []

        def after_train_iter(self, runner, *args, **kwargs):
            self.seen.append(runner.model.linear.weight.detach().clone())

    hook = Noting()
    train(Toy({3: math.nan}), skip=1, hooks=[hook])
    equal = [torch.equal(a, b) for a, b in zip(hook.seen, hook.seen[1:])]
    assert equal == [False, False, True, False, False, False, False]


def test_running_means_are_not_taken_back(train):
    class Poisoned(Toy):
        def forward(self, inputs, data_samples, mode='tensor'):
            if int(inputs[0, 0]) == 3:
                inputs = inputs * math.nan
                inputs[0, 0] = 3
            return super().forward(inputs, data_samples, mode)

    message, _ = stopped(train, Poisoned(norm=True), skip=5)
    assert 'norm.running_mean' in message
    assert 'cannot be taken back' in message


@pytest.mark.parametrize(
    'settings, words',
    [
        (dict(interval=0), 'interval must be positive, got 0'),
        (dict(skip=-1), 'skip must not be negative, got -1'),
    ],
)
def test_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        NonFiniteHook(**settings)


def test_several_optimizers(tmp_path):
    hook = NonFiniteHook(skip=1)

    class Several:
        hooks, optim_wrapper = [], {}

    with pytest.raises(TypeError, match='of one optimizer only.*Set skip=0'):
        hook.before_train(Several())


@HOOKS.register_module()
class PoisonHook(Hook):
    """Weights that make the logits of the student overflow at a step."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1:
            head = runner.model.student.roi_head.bbox_head.fc_cls
            head.bias.data[0] = math.nan


def test_a_distillation(distill_cfg):
    """The terms of the method are named, and the images of the batch."""
    cfg = Config(distill_cfg.to_dict())
    cfg.default_hooks.finite = dict(type='mmdet_rankkd.NonFiniteHook')
    cfg.custom_hooks = [dict(type='mmdet_rankkd.PoisonHook')]
    with pytest.raises(FloatingPointError) as caught:
        make_runner(cfg).train()
    message = str(caught.value)
    assert 'loss_kd is nan' in message and 'at iteration 2' in message
    assert message.count('.png') == 2


@pytest.mark.parametrize('skip', [0, 3])
def test_it_changes_nothing(distill_cfg, skip):
    """To the last bit, with and without the hook."""
    found = []
    for hooks in ({}, dict(type='mmdet_rankkd.NonFiniteHook', skip=skip)):
        cfg = Config(distill_cfg.to_dict())
        if hooks:
            cfg.default_hooks.finite = hooks
        runner = make_runner(cfg)
        runner.train()
        found.append(runner.model.state_dict())
    one, other = found
    assert all(torch.equal(one[k], other[k]) for k in one)
