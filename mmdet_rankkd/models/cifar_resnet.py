"""ResNets for images of 32 x 32 pixels."""

from typing import Any, Dict, List, Tuple, Union

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS

from .base import Features, InitCfg, Network, conv, init_fan_out, pool


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions; returns the sum before its ReLU."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(out)) + self.downsample(x)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (with the stride), 1 x 1; the sum before its ReLU."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return self.bn3(self.conv3(out)) + self.downsample(x)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Identity, or a 1 x 1 convolution where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(
        conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
    )


#: Width of the stem, widths and blocks of the stages, kind of block.
ARCHITECTURES: Dict[str, Any] = {
    'resnet20': (16, (16, 32, 64), (3, 3, 3), BasicBlock),
    'resnet32': (16, (16, 32, 64), (5, 5, 5), BasicBlock),
    'resnet56': (16, (16, 32, 64), (9, 9, 9), BasicBlock),
    'resnet110': (16, (16, 32, 64), (18, 18, 18), BasicBlock),
    'resnet8x4': (32, (64, 128, 256), (1, 1, 1), BasicBlock),
    'resnet32x4': (32, (64, 128, 256), (5, 5, 5), BasicBlock),
    'resnet50': (64, (64, 128, 256, 512), (3, 4, 6, 3), Bottleneck),
}


@MODELS.register_module()
class CifarResNet(Network):
    """ResNet with a 3 x 3 stem and no pooling before its stages.

    Args:
        arch (str or tuple): ``'resnet20'``, ``32``, ``56``, ``110``, ``8x4``,
            ``32x4`` or ``50``; or width of the stem, widths of the stages
            and numbers of their basic blocks.
        stem_stride (int): Stride of the first convolution.
        init_cfg (dict, optional): As everywhere in MMEngine.

    Raises:
        ValueError: If the architecture is none of these.
    """

    def __init__(
        self,
        arch: Union[str, Tuple],
        stem_stride: int = 1,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(arch, str) and arch not in ARCHITECTURES:
            raise ValueError(
                f'arch must be one of {sorted(ARCHITECTURES)}, got {arch!r}'
            )
        if isinstance(arch, str):
            stem, widths, depths, block = ARCHITECTURES[arch]
        else:
            stem, widths, depths, block = *arch, BasicBlock
        self.conv1 = conv(3, stem, 3, stem_stride)
        self.bn1 = nn.BatchNorm2d(stem)
        channels = stem
        self.layers = [f'layer{i + 1}' for i in range(len(widths))]
        for i, (width, depth) in enumerate(zip(widths, depths)):
            blocks = []
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(block(channels, width, stride))
                channels = width * block.expansion
            self.add_module(self.layers[i], nn.ModuleList(blocks))
        self.out_channels = channels
        init_fan_out(self)

    def features(self, x: Tensor) -> Features:
        """Stem and stages, before and after their ReLU."""
        pre = self.bn1(self.conv1(x))
        preacts = [pre]
        for name in self.layers:
            for block in getattr(self, name):
                pre = block(F.relu(pre))
            preacts.append(pre)
        stages = [F.relu(p) for p in preacts]
        return Features(stages, preacts, pool(stages[-1]))

    def last_norms(self) -> List[nn.BatchNorm2d]:
        """The last norm of each stage's last block."""
        blocks: List[Any] = [getattr(self, name)[-1] for name in self.layers]
        return [getattr(b, 'bn3', None) or b.bn2 for b in blocks]
