"""Wide ResNets for images of 32 x 32 pixels."""

from typing import Any, List

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS

from .base import Features, InitCfg, Network, conv, init_fan_out, pool


class WideBlock(nn.Module):
    """Pre-activated block; its first batch norm is called by the network,
    which reports the result.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.convShortcut = (  # the reference's name
            None if inputs == width else conv(inputs, width, 1, stride)
        )

    def forward(self, x: Tensor, normed: Tensor) -> Tensor:
        active = F.relu(normed)
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        if self.convShortcut is not None:
            x = self.convShortcut(active)
        return out + x


class WideStage(nn.Module):
    """Blocks under the name that the reference gives them."""

    def __init__(self, blocks: list) -> None:
        super().__init__()
        self.layer = nn.ModuleList(blocks)


@MODELS.register_module()
class WideResNet(Network):
    """WRN-depth-width (Zagoruyko and Komodakis, BMVC 2016), no dropout.

    Its stages end without an activation; ``preacts`` are their outputs after
    the batch norm that follows. Each batch norm runs once a pass (some
    reference code runs those twice and doubles their momentum by it).

    Args:
        depth (int): 6 n + 4.
        width (int): Factor on 16, 32 and 64 channels.
        init_cfg (dict, optional): As everywhere in MMEngine.

    Raises:
        ValueError: If the depth is not of that form.
    """

    def __init__(
        self, depth: int, width: int, init_cfg: InitCfg = None
    ) -> None:
        super().__init__(init_cfg)
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f'depth must be 6 n + 4, got {depth}')
        channels = 16
        self.conv1 = conv(3, channels, 3)
        for i in range(3):
            blocks = []
            for j in range((depth - 4) // 6):
                outputs = 16 * width * 2**i
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(WideBlock(channels, outputs, stride))
                channels = outputs
            self.add_module(f'block{i + 1}', WideStage(blocks))
        self.bn1 = nn.BatchNorm2d(channels)
        self.out_channels = channels
        init_fan_out(self)

    def features(self, x: Tensor) -> Features:
        """Raw outputs of stem and stages, and those after the next norm."""
        x = self.conv1(x)
        stages, preacts = [x], []
        for stage in (self.block1, self.block2, self.block3):
            for i, block in enumerate(stage.layer):
                normed = block.bn1(x)
                if i == 0:
                    preacts.append(normed)
                x = block(x, normed)
            stages.append(x)
        preacts.append(self.bn1(x))
        return Features(stages, preacts, pool(F.relu(preacts[-1])))

    def last_norms(self) -> List[nn.BatchNorm2d]:
        """The norm that follows each stage."""
        following: List[Any] = [
            stage.layer[0].bn1 for stage in (self.block2, self.block3)
        ]
        return [*following, self.bn1]
