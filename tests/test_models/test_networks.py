"""Parameter counts and layers of the networks."""

import pytest
import torch
from torch import nn

from mmdet_rankkd.registry import MODELS

P = 'mmdet_rankkd.'

# Parameters of network and classifier, and channels x size of the layers.
CIFAR = {
    'resnet20': (
        dict(type='CifarResNet', arch='resnet20'),
        278324,
        '16x32 16x32 32x16 64x8',
    ),
    'resnet32': (
        dict(type='CifarResNet', arch='resnet32'),
        472756,
        '16x32 16x32 32x16 64x8',
    ),
    'resnet56': (
        dict(type='CifarResNet', arch='resnet56'),
        861620,
        '16x32 16x32 32x16 64x8',
    ),
    'resnet110': (
        dict(type='CifarResNet', arch='resnet110'),
        1736564,
        '16x32 16x32 32x16 64x8',
    ),
    'resnet8x4': (
        dict(type='CifarResNet', arch='resnet8x4'),
        1233540,
        '32x32 64x32 128x16 256x8',
    ),
    'resnet32x4': (
        dict(type='CifarResNet', arch='resnet32x4'),
        7433860,
        '32x32 64x32 128x16 256x8',
    ),
    'resnet50': (
        dict(type='CifarResNet', arch='resnet50'),
        23705252,
        '64x32 256x32 512x16 1024x8 2048x4',
    ),
    'wrn-16-2': (
        dict(type='WideResNet', depth=16, width=2),
        703284,
        '16x32 32x32 64x16 128x8',
    ),
    'wrn-40-1': (
        dict(type='WideResNet', depth=40, width=1),
        569780,
        '16x32 16x32 32x16 64x8',
    ),
    'wrn-40-2': (
        dict(type='WideResNet', depth=40, width=2),
        2255156,
        '16x32 32x32 64x16 128x8',
    ),
    'vgg8': (
        dict(type='CifarVGG', arch='vgg8'),
        3965028,
        '64x32 128x16 256x8 512x4 512x4',
    ),
    'vgg13': (
        dict(type='CifarVGG', arch='vgg13'),
        9462180,
        '64x32 128x16 256x8 512x4 512x4',
    ),
    'shufflenet-v1': (
        dict(type='CifarShuffleNetV1'),
        949258,
        '24x32 240x16 480x8 960x4',
    ),
    'shufflenet-v2': (
        dict(type='CifarShuffleNetV2'),
        1355528,
        '24x32 116x16 232x8 464x4',
    ),
    'mobilenet-v2': (
        dict(type='CifarMobileNetV2'),
        812836,
        '16x16 12x16 16x8 48x4 160x2',
    ),
}
IMAGENET = {
    'mobilenet-v1': (
        dict(type='MobileNetV1'),
        4231976,
        '128x56 256x28 512x14 1024x7',
    ),
    'resnet18': (
        dict(type='ResNet', depth=18),
        11689512,
        '64x112 64x56 128x28 256x14 512x7',
    ),
    'resnet34': (
        dict(type='ResNet', depth=34),
        21797672,
        '64x112 64x56 128x28 256x14 512x7',
    ),
    'resnet50': (
        dict(type='ResNet', depth=50),
        25557032,
        '64x112 256x56 512x28 1024x14 2048x7',
    ),
}
TRANSFORMERS = {
    'deit-tiny': (dict(type='DeiT'), 5543716, None),
    't2t-vit-7': (dict(type='T2TViT'), 4078922, None),
    'pit-tiny': (dict(type='PiT'), 4615972, '64x27 64x27 128x14 256x7'),
    'pvt-tiny': (dict(type='PVT'), 12767588, '64x56 128x28 320x14 512x7'),
}
CASES = [
    *((f'cifar-{k}', 32, 100, *v) for k, v in CIFAR.items()),
    *((f'imagenet-{k}', 224, 1000, *v) for k, v in IMAGENET.items()),
    *((k, 224, 100, *v) for k, v in TRANSFORMERS.items()),
]


def classifier(backbone, num_classes, head='LinearHead'):
    backbone = dict(backbone, type=P + backbone['type'])
    return MODELS.build(
        dict(
            type=P + 'ImageClassifier',
            backbone=backbone,
            head=dict(type=P + head, num_classes=num_classes),
        )
    )


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    'name, size, classes, backbone, parameters, layers',
    CASES,
    ids=[c[0] for c in CASES],
)
def test_parameters_and_layers(
    name, size, classes, backbone, parameters, layers
):
    model = classifier(backbone, classes)
    assert count(model) == parameters
    model.eval()
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        features = model.backbone.features(x)
        (pooled,) = model.extract_feat(x)
        logits = model(x)
    if layers is not None:
        shapes = [f'{s.shape[1]}x{s.shape[2]}' for s in features.stages]
        assert shapes == layers.split()
    for stage, preact in zip(features.stages, features.preacts):
        assert stage.shape == preact.shape
    assert len(features.stages) == len(features.preacts)
    torch.testing.assert_close(pooled, features.pooled)
    assert pooled.shape == (1, model.backbone.out_channels)
    assert logits.shape == (1, classes)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    'name', [n for n in CIFAR if not n.startswith(('wrn', 'mobilenet'))]
)
def test_stages_are_activated_preacts(name):
    model = classifier(CIFAR[name][0], 100).eval()
    features = model.backbone.features(torch.randn(2, 3, 32, 32))
    for stage, preact in zip(features.stages, features.preacts):
        assert (preact < 0).any()
        torch.testing.assert_close(stage, preact.relu())


def test_wide_resnet_runs_each_norm_once():
    model = classifier(CIFAR['wrn-16-2'][0], 100).train()
    model.backbone.features(torch.randn(2, 3, 32, 32))
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 13
    assert all(int(m.num_batches_tracked) == 1 for m in norms)


def test_resnet_is_mmdetections():
    """Same keys, same outputs as the backbone that it takes apart."""
    from mmdet.models.backbones import ResNet

    for depth in (18, 50):
        ours = classifier(dict(type='ResNet', depth=depth), 10).backbone
        theirs = ResNet(depth, norm_eval=False)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        x = torch.randn(2, 3, 64, 64)
        ours.train(), theirs.train()
        for a, b in zip(ours.features(x).stages[1:], theirs(x)):
            torch.testing.assert_close(a, b)


def test_deit_with_distillation_token():
    model = classifier(dict(type='DeiT', distilled=True), 100, 'DistilledHead')
    assert count(model) == 5563400
    assert len(model.extract_feat(torch.randn(1, 3, 224, 224))) == 2
    assert model.head.fc_dist.weight.abs().sum() == 0


@pytest.mark.parametrize('name', TRANSFORMERS)
def test_epsilon_of_layer_norms(name):
    """1e-6 in every one, and what that means for nearly equal tokens."""
    model = classifier(TRANSFORMERS[name][0], 100).eval()
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) > 10
    for norm in norms:
        (width,) = norm.normalized_shape
        x = 1e-3 * torch.randn(2, width)
        centred = x - x.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        expected = centred / (variance + 1e-6).sqrt()
        assert torch.allclose(norm(x), expected, atol=1e-5)


def test_t2t_frozen_parameters():
    model = classifier(dict(type='T2TViT'), 100)
    frozen = [p.numel() for p in model.parameters() if not p.requires_grad]
    assert sum(frozen) == 54528


def test_performer_against_its_definition():
    """Attention with weights from the random features, token by token."""
    from mmdet_rankkd.models.t2t_vit import Performer

    torch.manual_seed(0)
    net = Performer(12, 8, 4)
    x = torch.randn(2, 5, 12)
    k, q, v = net.kqv(x).split(8, -1)

    def phi(z):
        return (net.w @ z - z @ z / 2).exp() / 2

    expected = torch.zeros(2, 5, 8)
    for b in range(2):
        for i in range(5):
            weights = torch.stack(
                [phi(q[b, i]) @ phi(k[b, j]) for j in range(5)]
            )
            y = (weights[:, None] * v[b]).sum(0) / weights.sum()
            expected[b, i] = v[b, i] + net.proj(y)
    torch.testing.assert_close(
        net.attention(x), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    'backbone, message',
    [
        (dict(type='CifarResNet', arch='resnet21'), 'resnet110'),
        (dict(type='WideResNet', depth=17, width=2), '6 n'),
        (dict(type='CifarVGG', arch='vgg19'), 'vgg13'),
        (dict(type='T2TViT', image_size=100), 'multiple of 16'),
    ],
)
def test_unknown_architectures(backbone, message):
    with pytest.raises(ValueError, match=message):
        classifier(backbone, 10)
