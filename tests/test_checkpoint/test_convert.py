"""Checkpoints of other projects, made of this package's networks."""

import argparse
import re

import pytest
import torch
from mmengine.config import Config

from mmdet_rankkd.checkpoint.build import build_model
from mmdet_rankkd.checkpoint.convert import convert_checkpoint

from ..helpers import ROOT


def network(name):
    path = ROOT / f'configs/{name}.py'
    torch.manual_seed(0)
    return path, build_model(Config.fromfile(path))


def renamed(model, classifier, *renames):
    """Weights of a network under the names of another project."""
    result = {}
    for key, value in model.state_dict().items():
        key = key.replace('head.fc.', f'{classifier}.')
        key = key.removeprefix('backbone.')
        for pattern, replacement in renames:
            key = re.sub(pattern, replacement, key)
        result[key] = value
    return result


def check(path, config, model, tmp_path, source):
    out = tmp_path / 'out.pth'
    facts = convert_checkpoint(path, config, out)
    assert facts['source'] == source
    loaded = torch.load(out, weights_only=True)
    model.load_state_dict(loaded['state_dict'], strict=True)
    weights = torch.load(path, weights_only=True)
    while not torch.is_tensor(next(iter(weights.values()))):
        weights = next(v for v in weights.values() if isinstance(v, dict))
    total = sum(v.double().sum() for v in weights.values())
    found = sum(v.double().sum() for v in loaded['state_dict'].values())
    assert found == pytest.approx(total.item())


@pytest.mark.parametrize(
    'name, classifier',
    [
        ('cifar100/resnet8x4_cifar100', 'fc'),
        ('cifar100/resnet50_cifar100', 'linear'),
        ('cifar100/wrn-16-2_cifar100', 'fc'),
        ('cifar100/vgg8_cifar100', 'classifier'),
        ('cifar100/mobilenet-v2_cifar100', 'classifier.0'),
        ('cifar100/shufflenet-v1_cifar100', 'linear'),
        ('cifar100/shufflenet-v2_cifar100', 'linear'),
        ('imagenet/mobilenet-v1_imagenet', 'fc'),
    ],
)
def test_mdistiller(name, classifier, tmp_path):
    """Under "model", as its teachers are."""
    config, model = network(name)
    renames = []
    if 'resnet50' in name:
        renames = [(r'\.downsample\.', '.shortcut.')]
    weights = renamed(model, classifier, *renames)
    file = tmp_path / 'ckpt_epoch_240.pth'
    torch.save(
        dict(
            epoch=240,
            model=weights,
            accuracy=torch.tensor(79.4),
            optimizer=dict(state={}, param_groups=[]),
        ),
        file,
    )
    check(file, config, model, tmp_path, 'mdistiller')


def test_torchvision(tmp_path):
    """A bare state dict; and one written by DataParallel."""
    config, model = network('imagenet/resnet18_imagenet')
    weights = renamed(model, 'fc')
    assert 'layer2.0.downsample.1.running_var' in weights
    torch.save(weights, tmp_path / 'resnet18.pth')
    check(tmp_path / 'resnet18.pth', config, model, tmp_path, 'mdistiller')
    parallel = {f'module.{k}': v for k, v in weights.items()}
    torch.save(dict(state_dict=parallel), tmp_path / 'parallel.pth')
    facts = convert_checkpoint(
        tmp_path / 'parallel.pth', config, tmp_path / 'again.pth'
    )
    assert facts['parameters'] == 11689512


def test_pycls(tmp_path):
    config, model = network('cifar100/resnet56_cifar100')
    weights = renamed(
        model,
        'head.fc',
        (r'^conv1\.', 'stem.conv.'),
        (r'^bn1\.', 'stem.bn.'),
        (r'^layer(\d)\.(\d)\.', lambda m: f's{m[1]}.b{int(m[2]) + 1}.'),
        (r'\.downsample\.0\.', '.proj.'),
        (r'\.downsample\.1\.', '.bn.'),
        (r'(b\d)\.conv1\.', r'\1.f.a.'),
        (r'(b\d)\.bn1\.', r'\1.f.a_bn.'),
        (r'(b\d)\.conv2\.', r'\1.f.b.'),
        (r'(b\d)\.bn2\.', r'\1.f.b_bn.'),
    )
    assert 's2.b1.proj.weight' in weights and 's3.b9.f.b_bn.bias' in weights
    torch.save(dict(epoch=299, model_state=weights), tmp_path / 'model.pyth')
    check(tmp_path / 'model.pyth', config, model, tmp_path, 'pycls')


@pytest.mark.parametrize(
    'name, key',
    [
        ('deit-tiny', 'blocks.11.mlp.fc2.bias'),
        ('deit-tiny-distilled', 'head_dist.weight'),
        ('t2t-vit-7', 'tokens_to_token.attention1.w'),
        ('pit-tiny', 'transformers.1.pool.conv.weight'),
        ('pvt-tiny', 'block4.1.attn.kv.weight'),
    ],
)
def test_timm(name, key, tmp_path):
    config, model = network(f'cifar100/{name}_cifar100-224')
    weights = renamed(
        model,
        'head',
        (r'^head\.fc_dist\.', 'head_dist.'),
        (r'^pools\.(\d)\.', lambda m: f'transformers.{int(m[1]) + 1}.pool.'),
    )
    assert key in weights
    torch.save(weights, tmp_path / 'vit.pth')
    check(tmp_path / 'vit.pth', config, model, tmp_path, 'timm')


def test_mmpretrain(tmp_path):
    config, model = network('cifar100/deit-tiny_cifar100-224')
    weights = {}
    for key, value in model.state_dict().items():
        for pattern, replacement in (
            (r'^head\.fc\.', 'head.layers.head.'),
            (r'patch_embed\.proj\.', 'patch_embed.projection.'),
            (r'blocks\.(\d+)\.norm(\d)\.', r'layers.\1.ln\2.'),
            (r'blocks\.(\d+)\.attn\.', r'layers.\1.attn.'),
            (r'blocks\.(\d+)\.mlp\.fc1\.', r'layers.\1.ffn.layers.0.0.'),
            (r'blocks\.(\d+)\.mlp\.fc2\.', r'layers.\1.ffn.layers.1.'),
            (r'^backbone\.norm\.', 'backbone.ln1.'),
        ):
            key = re.sub(pattern, replacement, key)
        weights[key] = value
    torch.save(dict(state_dict=weights, meta={}), tmp_path / 'deit.pth')
    check(tmp_path / 'deit.pth', config, model, tmp_path, 'mmpretrain')
    # Its ResNets for CIFAR have this package's names already.
    config, model = network('cifar100/resnet50_cifar100')
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'r50.pth')
    (tmp_path / 'out.pth').unlink()
    check(tmp_path / 'r50.pth', config, model, tmp_path, 'mmpretrain')


@pytest.fixture
def resnet(tmp_path):
    config, model = network('cifar100/resnet8x4_cifar100')
    return config, renamed(model, 'fc'), tmp_path / 'file.pth'


def test_a_failing_write_leaves_nothing(resnet, monkeypatch):
    config, weights, file = resnet
    torch.save(weights, file)

    def save(content, out):
        out.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', save)
    with pytest.raises(OSError, match='disk full'):
        convert_checkpoint(file, config, file.with_name('new') / 'out.pth')
    assert list(file.with_name('new').iterdir()) == []


def test_configs_of_a_package(resnet):
    config, weights, file = resnet
    torch.save(weights, file)
    name = f'mmdet_rankkd::cifar100/{config.name}'
    facts = convert_checkpoint(file, name, file.with_name('out.pth'))
    assert facts['weights'] == len(weights)
    with pytest.raises(FileNotFoundError, match='config .*none.py'):
        convert_checkpoint(file, 'none.py', file.with_name('b.pth'))


def refused(resnet, change, match):
    config, weights, file = resnet
    change(weights)
    torch.save(dict(model=weights), file)
    out = file.with_name('out.pth')
    with pytest.raises(ValueError, match=match):
        convert_checkpoint(file, config, out)
    assert not out.exists()


def test_missing_weight(resnet):
    refused(resnet, lambda w: w.pop('layer2.0.bn2.weight'), '1 missing')


def test_unused_weight(resnet):
    refused(
        resnet, lambda w: w.update(extra=torch.ones(1)), 'no place for .*extra'
    )


def test_another_shape(resnet):
    refused(
        resnet,
        lambda w: w.update({'fc.bias': torch.ones(10)}),
        r'head\.fc\.bias: \(10,\) in the file, \(100,\) in the model',
    )


def test_not_a_tensor(resnet):
    refused(
        resnet, lambda w: w.update(lr=0.1), r'file\.pth has .*no tensors: lr'
    )


@pytest.mark.parametrize('module', ['module.', ''])
def test_whole_distillers_of_mdistiller(resnet, module):
    """Its ``best``: the student's part is taken, as of ``student_best``."""
    config, weights, file = resnet
    teacher = {k: v + 1 for k, v in weights.items()}
    distiller = {
        **{f'{module}student.{k}': v for k, v in weights.items()},
        **{f'{module}teacher.{k}': v for k, v in teacher.items()},
        f'{module}crd_loss.embed_s.linear.weight': torch.ones(128, 256),
    }
    best = dict(epoch=240, model=distiller, optimizer={}, best_acc=76.3)
    torch.save(best, file)
    facts = convert_checkpoint(file, config, file.with_name('whole.pth'))
    assert 'student' in facts['part'] and facts['source'] == 'mdistiller'
    torch.save(dict(model=weights), file.with_name('student_best'))
    facts = convert_checkpoint(
        file.with_name('student_best'), config, file.with_name('alone.pth')
    )
    assert facts['part'] == 'all'
    whole, alone = (
        torch.load(file.with_name(n))['state_dict']
        for n in ('whole.pth', 'alone.pth')
    )
    assert list(whole) == list(alone)
    assert all(torch.equal(whole[k], alone[k]) for k in alone)
    # Another network's config: the message says what was read.
    other = config.with_name('resnet20_cifar100.py')
    with pytest.raises(ValueError, match="student's part .* student_best"):
        convert_checkpoint(file, other, file.with_name('c.pth'))


def test_files_with_code_need_trust(resnet):
    config, weights, file = resnet
    torch.save(dict(model=weights, opt=argparse.Namespace(lr=0.05)), file)
    out = file.with_name('out.pth')
    with pytest.raises(ValueError, match='--trust'):
        convert_checkpoint(file, config, out)
    convert_checkpoint(file, config, out, trust=True)
    with pytest.raises(FileExistsError, match='--force'):
        convert_checkpoint(file, config, out, trust=True)
    with pytest.raises(IsADirectoryError, match='is a folder'):
        convert_checkpoint(file, config, file.parent, force=True, trust=True)
    with pytest.raises(ValueError, match='source must be'):
        convert_checkpoint(file, config, file.with_name('b'), source='keras')
