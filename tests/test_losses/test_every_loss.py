"""What holds for every loss, of those to come as well: float32 throughout.

The losses are those that the package registers and exports; each needs an
example here.
"""

import inspect

import pytest
import torch
from torch import Tensor, nn

from mmdet_rankkd import losses
from mmdet_rankkd.losses import (
    DistillLoss,
    FeatureLoss,
    LogitLoss,
    MLKDLoss,
)
from mmdet_rankkd.losses.dense.cross_kd import match_scale
from mmdet_rankkd.models import Features
from mmdet_rankkd.structures import Predictions

SHELLS = {'DistillLoss', 'FeatureLoss', 'LogitLoss'}
MODULES = {
    name: kind
    for name, kind in inspect.getmembers(losses, inspect.isclass)
    if issubclass(kind, DistillLoss) and name not in SHELLS
}
FUNCTIONS = {
    name: function
    for name, function in inspect.getmembers(losses, inspect.isfunction)
    if name.endswith(('_loss', '_side'))
}
FUNCTIONS['match_scale'] = match_scale
# Arguments of each registered loss; several sets of some.
SETTINGS = {
    'ATLoss': [{}],
    'BinaryKLDivLoss': [{}, dict(beta=1.0)],
    'CRDLoss': [dict(num_data=20, width=6)],
    'CTKDLoss': [{}, dict(num_classes=7), dict(standardized=True)],
    'CWDLoss': [{}],
    'CrossKDLoss': [{}],
    'DISTLoss': [{}],
    'DKDLoss': [{}, dict(standardized=True)],
    'FGDLoss': [dict(levels=(0, 1))],
    'FGFILoss': [dict(levels=(0, 1))],
    'FitNetLoss': [dict(levels=(0, 1))],
    'KLDivLoss': [{}, dict(standardized=True)],
    'KendallRankLoss': [{}, dict(form=2), dict(form=3, normalize=False)],
    'LDLoss': [{}],
    'MGDLoss': [dict(levels=(0, 1))],
    'MLKDLoss': [{}, dict(standardized=True, reference_slip=True)],
    'MaskKDLoss': [{}],
    'NKDLoss': [{}],
    'OFDLoss': [{}],
    'PKDLoss': [dict(levels=(0, 1, 2))],
    'ReviewKDLoss': [{}],
}
HALVES = [torch.float16, torch.bfloat16]


def of_kind(kind: type) -> list:
    return [
        pytest.param(name, settings, id=f'{name}-{i}')
        for name in MODULES
        for i, settings in enumerate(SETTINGS.get(name, [{}]))
        if issubclass(MODULES[name], kind)
    ]


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(shape, generator=generator)


def labels() -> Tensor:
    return torch.arange(6) % 7


def features(seed: int, width: int) -> Features:
    maps = [draw(2, width, n, n, seed=seed + n) for n in (8, 4, 2)]
    pooled = draw(2, width, seed=seed)
    return Features([m.relu() for m in maps], maps, pooled)


class Teacher(nn.Module):
    """As much of a teacher as OFD looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Identity()
        self.backbone.last_norms = lambda: [nn.BatchNorm2d(5)] * 2


def build(name: str, settings: dict) -> DistillLoss:
    torch.manual_seed(0)
    loss = MODULES[name](**settings)
    if isinstance(loss, FeatureLoss):
        loss.build(features(0, 3), features(50, 5))
        loss.teacher_is_ready(Teacher())
    else:
        for i, parameter in enumerate(loss.parameters()):
            parameter.data += draw(*parameter.shape, seed=i) / 10
    return loss


def cast(value, dtype):
    """A structure with all its floating point tensors in a dtype."""
    if isinstance(value, Tensor):
        return value.detach().to(dtype) if value.is_floating_point() else value
    if isinstance(value, (Features, Predictions)):
        return type(value)(*(cast(v, dtype) for v in value))
    if isinstance(value, (list, tuple)):
        return [cast(v, dtype) for v in value]
    return value


def call(loss, dtype, computed=None):
    """The loss of a batch, and the leaves that stand for the student's.

    Args:
        loss (DistillLoss): Of logits or features.
        dtype (torch.dtype): Of the batch.
        computed (torch.dtype): What it is brought to before, if not that.
    """
    batch = features(0, 3), features(50, 5), list(draw(4, 6, 7))
    student, teacher, logits = cast(cast(batch, dtype), computed or dtype)
    if isinstance(loss, LogitLoss):
        leaves = [logits[0].requires_grad_(), logits[2].requires_grad_()]
        extra = {}
        if isinstance(loss, MLKDLoss):
            extra['strong'] = tuple(logits[2:])
        else:
            leaves.pop()
        return loss(*logits[:2], labels=labels(), **extra), leaves
    leaves = [m.requires_grad_() for m in (*student.preacts, student.pooled)]
    stages = [m.relu() for m in student.preacts]
    student = Features(stages, student.preacts, student.pooled)
    arguments = {
        'contrast': torch.arange(10).view(2, 5),
        'masks': [torch.ones(2, n, n).bool() for n in (8, 4, 2)],
    }
    takes = inspect.signature(loss.forward).parameters
    extra = {k: v for k, v in arguments.items() if k in takes}
    return loss(student, teacher, **extra), leaves


def adapters(loss):
    """Modules of a loss of features whose outputs it compares."""
    for child in loss.children():
        yield from child if isinstance(child, nn.ModuleList) else [child]


def test_every_loss_is_here():
    lacking = set(MODULES) - set(SETTINGS), set(FUNCTIONS) - set(EXAMPLES)
    assert not lacking[0], f'give them settings in SETTINGS: {lacking[0]}'
    assert not lacking[1], f'give them an example in EXAMPLES: {lacking[1]}'
    assert set(SETTINGS) == set(MODULES) and set(EXAMPLES) == set(FUNCTIONS)


@pytest.mark.parametrize('dtype', [torch.float32, *HALVES])
@pytest.mark.parametrize('name, settings', of_kind(LogitLoss))
def test_logits_under_autocast(name, settings, dtype):
    """It changes nothing, not a bit."""
    results = []
    for enabled in (False, True):
        loss = build(name, settings)
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            value, leaves = call(loss, dtype)
        value.backward()
        assert value.dtype == torch.float32
        leaves += loss.parameters()
        results.append([value.detach(), *(x.grad for x in leaves)])
    for plain, under in zip(*results):
        assert torch.equal(plain, under)


@pytest.mark.parametrize('dtype', HALVES)
@pytest.mark.parametrize('name, settings', of_kind(LogitLoss))
def test_half_precision_logits(name, settings, dtype):
    """As of the same logits in float64; the gradient in their own dtype."""
    value, leaves = call(build(name, settings), dtype)
    exact, others = call(build(name, settings).double(), dtype, torch.float64)
    assert value.item() == pytest.approx(exact.item(), rel=1e-4, abs=1e-6)
    value.backward()
    exact.backward()
    for leaf, twin in zip(leaves, others):
        assert leaf.grad.dtype == dtype
        error = (leaf.grad.double() - twin.grad).abs().max()
        assert error <= 2 * torch.finfo(dtype).eps * twin.grad.abs().max()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('name, settings', of_kind(FeatureLoss))
def test_features_under_autocast(name, settings, dtype):
    """Adapters may follow it; what compares their outputs does not.

    The outputs of the adapters are noted, and compared once more in float32,
    without autocast: the same loss and the same gradients, to the bit.
    """
    outputs, copies = [], []

    def note(module, inputs, output):
        parts = output if isinstance(output, tuple) else (output,)
        outputs.append(parts[0])
        parts[0].retain_grad()

    def repeat(module, inputs, output):
        part = outputs[len(copies)].detach().float().requires_grad_()
        copies.append(part)
        return (part, *output[1:]) if isinstance(output, tuple) else part

    loss, plain = build(name, settings), build(name, settings)
    for ours, again in zip(adapters(loss), adapters(plain)):
        ours.register_forward_hook(note)
        again.register_forward_hook(repeat)
    with torch.autocast('cpu', torch.bfloat16):
        value, leaves = call(loss, dtype)
    expected, others = call(plain, dtype, torch.float32)
    assert value.dtype == torch.float32
    assert value.item() == expected.item()
    value.backward()
    expected.backward()
    pairs = list(zip(outputs, copies)) or list(zip(leaves, others))
    assert any(twin.grad is not None for _, twin in pairs)
    for leaf, twin in pairs:
        if twin.grad is not None:
            assert torch.equal(leaf.grad, twin.grad.to(leaf.dtype))


def predictions(seed: int) -> Predictions:
    return Predictions(draw(6, 7, seed=seed), draw(6, 28, seed=seed + 1))


#: What the losses that are neither of logits nor of features are called with.
OTHERS = {
    'CrossKDLoss': lambda: [
        predictions(0),
        predictions(2),
        torch.ones(6),
        torch.tensor(6.0),
    ],
    'LDLoss': lambda: [*draw(2, 6, 28), torch.ones(6)],
    'MaskKDLoss': lambda: list(draw(2, 6, 49)),
}


def test_every_loss_is_of_a_kind_that_is_tested():
    others = {
        name
        for name, kind in MODULES.items()
        if not issubclass(kind, (LogitLoss, FeatureLoss))
    }
    assert others == set(OTHERS)


@pytest.mark.parametrize('dtype', [torch.float32, *HALVES])
@pytest.mark.parametrize('name', OTHERS)
def test_others_under_autocast(name, dtype):
    """It changes nothing, not a bit."""
    results = []
    for enabled in (False, True):
        student, *rest = cast(OTHERS[name](), dtype)
        leaves = [student] if isinstance(student, Tensor) else list(student)
        for leaf in leaves:
            leaf.requires_grad_()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            value = MODULES[name]()(student, *rest)
        value.backward()
        assert value.dtype == torch.float32
        results.append([value.detach(), *(x.grad for x in leaves)])
    for plain, under in zip(*results):
        assert torch.equal(plain, under)


def logits() -> list:
    return list(draw(2, 6, 7))


def maps() -> list:
    return [draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1)]


# What each function is called with, the student's first.
EXAMPLES = {
    'at_loss': maps,
    'binary_kl_div_loss': logits,
    'crd_side': lambda: [draw(3, 9).sigmoid(), 20],
    'cross_kd_box_loss': lambda: [*draw(2, 6, 28), torch.ones(6)],
    'cross_kd_class_loss': logits,
    'ctkd_loss': lambda: [*logits(), torch.ones(())],
    'cwd_loss': maps,
    'dist_loss': logits,
    'dkd_loss': lambda: [*logits(), labels()],
    'fgd_focal_loss': lambda: [*maps(), draw(2, 4, 4).relu()],
    'fgd_global_loss': maps,
    'fgfi_loss': lambda: [*([m] for m in maps()), [torch.ones(2, 4, 4) > 0]],
    'fitnet_loss': maps,
    'hcl_loss': maps,
    'kendall_rank_loss': logits,
    'kl_div_loss': logits,
    'ld_loss': lambda: list(draw(2, 6, 28)),
    'mask_kd_loss': logits,
    'match_scale': maps,
    'mgd_loss': maps,
    'mlkd_loss': lambda: [*logits(), draw(2, 6, 7, seed=1).unbind()],
    'nkd_loss': lambda: [*logits(), labels()],
    'ofd_loss': lambda: [*maps(), -torch.ones(3)],
    'pkd_loss': maps,
}


@pytest.mark.parametrize('name', FUNCTIONS)
@pytest.mark.parametrize('dtype', [torch.float32, *HALVES])
def test_functions_under_autocast(name, dtype):
    """The pure functions by themselves hold to it too."""
    results = []
    for enabled in (False, True):
        first, *rest = EXAMPLES[name]()
        if name == 'crd_side':  # of scores, which CRDLoss has in float32
            dtype = torch.float32
        first, rest = cast(first, dtype), cast(rest, dtype)
        student = first[0] if isinstance(first, list) else first
        student.requires_grad_()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            value = FUNCTIONS[name](first, *rest)
        value.square().sum().backward()
        assert value.dtype == torch.float32
        results.append((value.detach(), student.grad))
    for plain, under in zip(*results):
        assert torch.equal(plain, under)
