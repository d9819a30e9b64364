"""ShuffleNets for images of 32 x 32 pixels."""

from typing import List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS

from .base import Features, InitCfg, Network, conv, pool


def shuffle(x: Tensor, groups: int) -> Tensor:
    """``F.channel_shuffle``, of operators that ONNX has."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class ShuffleBlockV1(nn.Module):
    """Grouped bottleneck; returns its output before the last ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int):
        super().__init__()
        mid = outputs // 4
        # The stem's few channels are not split.
        self.groups = 1 if inputs == 24 else groups
        self.stride = stride
        self.conv1 = conv(inputs, mid, 1, groups=self.groups)
        self.bn1 = nn.BatchNorm2d(mid)
        self.conv2 = conv(mid, mid, 3, stride, groups=mid)
        self.bn2 = nn.BatchNorm2d(mid)
        self.conv3 = conv(mid, outputs, 1, groups=groups)
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = shuffle(out, self.groups)
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.stride == 1:
            return out + x
        return torch.cat([out, F.avg_pool2d(x, 3, 2, 1)], 1)


@MODELS.register_module()
class CifarShuffleNetV1(Network):
    """ShuffleNetV1 of 3 groups with a 1 x 1 stem (Zhang et al., CVPR 2018).

    Args:
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    out_channels = 960

    def __init__(self, init_cfg: InitCfg = None) -> None:
        super().__init__(init_cfg)
        self.conv1 = conv(3, 24, 1)
        self.bn1 = nn.BatchNorm2d(24)
        channels = 24
        for i, (width, depth) in enumerate([(240, 4), (480, 8), (960, 4)]):
            blocks = []
            for j in range(depth):
                # The pooled input is a part of the output.
                outputs = width if j else width - channels
                blocks.append(
                    ShuffleBlockV1(channels, outputs, 1 if j else 2, 3)
                )
                channels = width
            self.add_module(f'layer{i + 1}', nn.ModuleList(blocks))

    def features(self, x: Tensor) -> Features:
        """Stem and stages, before and after their ReLU."""
        pre = self.bn1(self.conv1(x))
        preacts = [pre]
        for layer in (self.layer1, self.layer2, self.layer3):
            for block in layer:
                pre = block(F.relu(pre))
            preacts.append(pre)
        stages = [F.relu(p) for p in preacts]
        return Features(stages, preacts, pool(stages[-1]))


class DownBlockV2(nn.Module):
    """Two branches that halve the size; before and after the last ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        mid = outputs // 2
        self.conv1 = conv(inputs, inputs, 3, 2, groups=inputs)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = conv(inputs, mid, 1)
        self.bn2 = nn.BatchNorm2d(mid)
        self.conv3 = conv(inputs, mid, 1)
        self.bn3 = nn.BatchNorm2d(mid)
        self.conv4 = conv(mid, mid, 3, 2, groups=mid)
        self.bn4 = nn.BatchNorm2d(mid)
        self.conv5 = conv(mid, mid, 1)
        self.bn5 = nn.BatchNorm2d(mid)

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        left = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        right = F.relu(self.bn3(self.conv3(x)))
        right = self.bn5(self.conv5(self.bn4(self.conv4(right))))
        pre = shuffle(torch.cat([left, right], 1), 2)
        return pre, F.relu(pre)


class BasicBlockV2(nn.Module):
    """Half of the channels pass by; before and after the last ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = conv(half, half, 1)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = conv(half, half, 3, groups=half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv(half, half, 1)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        left, right = x.chunk(2, 1)
        right = F.relu(self.bn1(self.conv1(right)))
        right = self.bn3(self.conv3(self.bn2(self.conv2(right))))
        pre = shuffle(torch.cat([left, right], 1), 2)
        # The half that passed by has been activated before.
        return pre, F.relu(pre)


@MODELS.register_module()
class CifarShuffleNetV2(Network):
    """ShuffleNetV2 x1 with a 1 x 1 stem (Ma et al., ECCV 2018).

    Args:
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    out_channels = 1024

    def __init__(self, init_cfg: InitCfg = None) -> None:
        super().__init__(init_cfg)
        self.conv1 = conv(3, 24, 1)
        self.bn1 = nn.BatchNorm2d(24)
        channels = 24
        for i, (width, depth) in enumerate([(116, 3), (232, 7), (464, 3)]):
            blocks: List[nn.Module] = [DownBlockV2(channels, width)]
            blocks += [BasicBlockV2(width) for _ in range(depth)]
            channels = width
            self.add_module(f'layer{i + 1}', nn.ModuleList(blocks))
        self.conv2 = conv(channels, self.out_channels, 1)
        self.bn2 = nn.BatchNorm2d(self.out_channels)

    def features(self, x: Tensor) -> Features:
        """Stem and stages; the last convolution only in ``pooled``."""
        pre = self.bn1(self.conv1(x))
        x = F.relu(pre)
        stages, preacts = [x], [pre]
        for layer in (self.layer1, self.layer2, self.layer3):
            for block in layer:
                pre, x = block(x)
            stages.append(x)
            preacts.append(pre)
        last = F.relu(self.bn2(self.conv2(x)))
        return Features(stages, preacts, pool(last))
