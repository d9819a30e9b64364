"""MobileNetV2 for 32 x 32 pixels, and MobileNetV1 for ImageNet."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS

from .base import Features, InitCfg, Network, conv, init_fan_out, pool


class InvertedResidual(nn.Module):
    """1 x 1 up, 3 x 3 by channel, 1 x 1 down, without a last activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, factor: int):
        super().__init__()
        mid = inputs * factor
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            conv(inputs, mid, 1),
            nn.BatchNorm2d(mid),
            nn.ReLU(),
            conv(mid, mid, 3, stride, groups=mid),
            nn.BatchNorm2d(mid),
            nn.ReLU(),
            conv(mid, outputs, 1),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


@MODELS.register_module()
class CifarMobileNetV2(Network):
    """MobileNetV2 as distillation papers use it on CIFAR-100.

    Widths are cut to whole numbers, not to multiples of 8; ReLU, not ReLU6;
    the first block keeps its 1 x 1 expansion.

    Args:
        width (float): Factor on the widths, 0.5 in the papers.
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    out_channels = 1280
    # Factor, width, blocks and stride of the stages.
    STAGES = (
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, width: float = 0.5, init_cfg: InitCfg = None) -> None:
        super().__init__(init_cfg)
        channels = int(32 * width)
        self.conv1 = nn.Sequential(
            conv(3, channels, 3, 2), nn.BatchNorm2d(channels)
        )
        self.blocks = nn.ModuleList()
        for factor, outputs, depth, stride in self.STAGES:
            stage = nn.Sequential()
            for j in range(depth):
                stage.append(
                    InvertedResidual(
                        channels,
                        int(outputs * width),
                        1 if j else stride,
                        factor,
                    )
                )
                channels = int(outputs * width)
            self.blocks.append(stage)
        self.conv2 = nn.Sequential(
            conv(channels, self.out_channels, 1),
            nn.BatchNorm2d(self.out_channels),
        )
        init_fan_out(self)

    def features(self, x: Tensor) -> Features:
        """Stem and the last stage of each size; they end in no ReLU."""
        pre = self.conv1(x)
        x = F.relu(pre)
        stages, preacts = [x], [pre]
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in (1, 2, 4, 6):
                stages.append(x)
                preacts.append(x)
        return Features(stages, preacts, pool(F.relu(self.conv2(x))))


class SeparableConv(nn.Sequential):
    """3 x 3 by channel and 1 x 1; returns its output before the last ReLU.

    The places of the reference's last ReLU and of its names are kept.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(
            conv(inputs, inputs, 3, stride, groups=inputs),
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            conv(inputs, outputs, 1),
            nn.BatchNorm2d(outputs),
        )


@MODELS.register_module()
class MobileNetV1(Network):
    """MobileNetV1 of full width for ImageNet (Howard et al., 2017).

    Args:
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    out_channels = 1024
    # Width and stride of the separable convolutions.
    LAYERS = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *((512, 1),) * 5,
        (1024, 2),
        (1024, 1),
    )

    def __init__(self, init_cfg: InitCfg = None) -> None:
        super().__init__(init_cfg)
        channels = 32
        self.model = nn.ModuleList(
            [nn.Sequential(conv(3, channels, 3, 2), nn.BatchNorm2d(channels))]
        )
        for width, stride in self.LAYERS:
            self.model.append(SeparableConv(channels, width, stride))
            channels = width

    def features(self, x: Tensor) -> Features:
        """The last layer of each size, without the stem's."""
        stages, preacts = [], []
        for i, layer in enumerate(self.model):
            pre = layer(x)
            x = F.relu(pre)
            if i in (3, 5, 11, 13):
                stages.append(x)
                preacts.append(pre)
        return Features(stages, preacts, pool(x))
