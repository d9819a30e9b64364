"""VGG nets for images of 32 x 32 pixels."""

from typing import List

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS

from .base import Features, InitCfg, Network, init_fan_out, pool

DEPTHS = {'vgg8': 1, 'vgg13': 2}


@MODELS.register_module()
class CifarVGG(Network):
    """VGG with batch norm, pooled after its first three stages only.

    Args:
        arch (str): ``'vgg8'`` or ``'vgg13'``.
        init_cfg (dict, optional): As everywhere in MMEngine.

    Raises:
        ValueError: If the architecture is none of these.
    """

    out_channels = 512

    def __init__(self, arch: str, init_cfg: InitCfg = None) -> None:
        super().__init__(init_cfg)
        if arch not in DEPTHS:
            raise ValueError(
                f'arch must be one of {sorted(DEPTHS)}, got {arch!r}'
            )
        channels = 3
        for i, width in enumerate((64, 128, 256, 512, 512)):
            layers: List[nn.Module] = []
            for j in range(DEPTHS[arch]):
                if j:
                    layers.append(nn.ReLU())
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                layers.append(nn.BatchNorm2d(width))
                channels = width
            self.add_module(f'block{i}', nn.Sequential(*layers))
        init_fan_out(self)

    def features(self, x: Tensor) -> Features:
        """Stages before pooling."""
        stages, preacts = [], []
        for i in range(5):
            preacts.append(getattr(self, f'block{i}')(x))
            stages.append(F.relu(preacts[-1]))
            x = F.max_pool2d(stages[-1], 2) if i < 3 else stages[-1]
        return Features(stages, preacts, pool(x))

    def last_norms(self) -> List[nn.BatchNorm2d]:
        """The last norm of each stage but the first."""
        return [getattr(self, f'block{i}')[-1] for i in range(1, 5)]
