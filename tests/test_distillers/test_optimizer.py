"""Constructors of optimizers see the plain student's names."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmdet_rankkd.registry import MODELS

from ..helpers import build


@MODELS.register_module()
class TinyConvNeXt(nn.Module):
    """Names of a ConvNeXt's parameters, which the constructors go by."""

    def __init__(self):
        super().__init__()
        widths = (8, 16, 24, 32)
        self.downsample_layers = nn.ModuleList(
            nn.Conv2d(i, o, 4, 4 if i == 3 else 2, 1)
            for i, o in zip((3, *widths), widths)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(nn.Conv2d(w, w, 1) for _ in range(depth)))
            for w, depth in zip(widths, (1, 1, 3, 1))
        )

    def forward(self, x):
        outputs = []
        for down, stage in zip(self.downsample_layers, self.stages):
            x = stage(down(x))
            outputs.append(x)
        return tuple(outputs)


DECAY = dict(
    constructor='mmdet.LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_rate=0.7, decay_type='layer_wise', num_layers=6),
)
STAGES = dict(
    constructor='mmdet.LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_rate=0.7, decay_type='stage_wise', num_layers=6),
)
KEYS = dict(
    paramwise_cfg=dict(
        bypass_duplicate=True,
        norm_decay_mult=0.0,
        custom_keys={
            'backbone.stages.0': dict(lr_mult=0.1),
            'backbone': dict(lr_mult=0.5),
            'fc_cls': dict(decay_mult=0.0),
        },
    )
)


@pytest.fixture
def configs(distill_cfg):
    """Model configs of the plain and of the distilled student."""
    student = distill_cfg.model.student
    student.backbone = dict(type='mmdet_rankkd.TinyConvNeXt')
    student.neck.in_channels = [8, 16, 24, 32]
    return student, distill_cfg.model


def groups(model, settings):
    """Parameter names, learning rate and decay of each group."""
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
            **settings,
        ),
    )
    names = {id(p): n for n, p in model.named_parameters()}
    return [
        ([names[id(p)] for p in g['params']], g['lr'], g['weight_decay'])
        for g in wrapper.optimizer.param_groups
    ]


@pytest.mark.parametrize('settings', [DECAY, STAGES, KEYS, {}])
@pytest.mark.parametrize('frozen', [False, True])
def test_groups_are_the_plain_students(configs, settings, frozen):
    plain, distilled = (build(c) for c in configs)
    if frozen:
        for student in (plain, distilled.student):
            student.backbone.downsample_layers[0].requires_grad_(False)
    expected = groups(plain, settings)
    assert groups(distilled, settings) == expected
    if settings in (DECAY, STAGES):
        assert len({lr for _, lr, _ in expected}) > 4


def test_what_losses_learn_comes_last(configs):
    plain, config = configs
    config.losses = [
        dict(type='mmdet_rankkd.FitNetLoss', levels=(0,), loss_weight=1.0)
    ]
    expected = groups(build(plain), DECAY)
    found = groups(build(config), DECAY)
    own = [n for names, *_ in found for n in names if 'distiller' in n]
    assert len(own) == 4
    assert all(n.startswith('distiller.loss_fitnet.') for n in own)
    for (names, *rest), (others, *settings) in zip(found, expected):
        assert [n for n in names if n not in own] == others
        assert rest == settings


def test_names_are_those_of_the_checkpoint(distill_cfg):
    distill_cfg.model.losses.append(dict(type='mmdet_rankkd.CTKDLoss'))
    model = build(distill_cfg.model)
    names = [n for n, _ in model.named_parameters()]
    assert set(names) <= set(model.state_dict())
    assert names[-1] == 'distiller.loss_ctkd.theta'
    named = dict(model.named_parameters(prefix='module'))
    assert set(named) == {f'module.{n}' for n in names}
    assert len(list(model.parameters())) == len(names)
    torch.testing.assert_close(
        named['module.backbone.conv1.conv.weight'],
        model.student.backbone.conv1.conv.weight,
    )
