"""ResNets for ImageNet: MMDetection's, with the layers that methods need."""

from typing import Any, List

import torch.nn.functional as F
from mmdet.models.backbones import ResNet as MMDetResNet
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS

from .base import Features, InitCfg, Network, init_fan_out, pool


@MODELS.register_module()
class ResNet(Network):
    """ResNet-18, 34, 50, 101 or 152 by MMDetection, trained in full.

    Keys of the state dict are those of MMDetection and torchvision.

    Args:
        depth (int): As in ``mmdet.ResNet``.
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    def __init__(self, depth: int, init_cfg: InitCfg = None) -> None:
        super().__init__(init_cfg)
        inner = MMDetResNet(depth, norm_eval=False, zero_init_residual=False)
        self.layers = inner.res_layers
        for name, module in inner.named_children():
            self.add_module(name, module)
        self.out_channels = inner.feat_dim
        init_fan_out(self)

    def features(self, x: Tensor) -> Features:
        """Stem (before its pooling) and stages, before and after ReLU."""
        pre = self.bn1(self.conv1(x))
        stages, preacts = [F.relu(pre)], [pre]
        x = self.maxpool(stages[0])
        for name in self.layers:
            *blocks, last = getattr(self, name)
            for block in blocks:
                x = block(x)
            pre = before_relu(last, x)
            x = F.relu(pre)
            stages.append(x)
            preacts.append(pre)
        return Features(stages, preacts, pool(x))

    def last_norms(self) -> List[nn.BatchNorm2d]:
        """The last norm of each stage's last block."""
        blocks: List[Any] = [getattr(self, name)[-1] for name in self.layers]
        return [b.norm3 if hasattr(b, 'conv3') else b.norm2 for b in blocks]


def before_relu(block: Any, x: Tensor) -> Tensor:
    """A block of MMDetection's ResNet up to its last ReLU."""
    out = block.relu(block.norm1(block.conv1(x)))
    out = block.norm2(block.conv2(out))
    if hasattr(block, 'conv3'):
        out = block.norm3(block.conv3(block.relu(out)))
    return out + (x if block.downsample is None else block.downsample(x))
