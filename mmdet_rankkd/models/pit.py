"""PiT."""

from typing import Any, Sequence

import torch
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS

from .base import Features, InitCfg, Network
from .transformer import (
    Attention,
    Block,
    drop_rates,
    init_transformer,
    layer_norm,
    to_map,
    to_tokens,
)


class ConvEmbed(nn.Module):
    """Overlapping patches to a map of tokens."""

    def __init__(self, width: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, size, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Pooling(nn.Module):
    """Half the size and twice the width, the class token by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 2 * width, 3, 2, 1, groups=width)
        self.fc = nn.Linear(width, 2 * width)


class Stage(nn.Module):
    """Blocks under the name that the published code gives them."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)


@MODELS.register_module()
class PiT(Network):
    """PiT-Tiny by default (Heo et al., ICCV 2021).

    Keys of the state dict are those of the published code.

    Args:
        width (int): Width of the tokens of the first stage.
        depths (Sequence[int]): Blocks of the stages.
        heads (Sequence[int]): Attention heads of the stages.
        image_size (int): Side of the images in pixels.
        drop_path (float): Rate of drop path of the last block.
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    def __init__(
        self,
        width: int = 64,
        depths: Sequence[int] = (2, 6, 4),
        heads: Sequence[int] = (2, 4, 8),
        image_size: int = 224,
        drop_path: float = 0.1,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.patch_embed = ConvEmbed(width, 16, 8)
        side = (image_size - 16) // 8 + 1
        self.pos_embed = nn.Parameter(torch.zeros(1, width, side, side))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        rates = iter(drop_rates(drop_path, sum(depths)))
        self.transformers = nn.ModuleList()
        self.pools = nn.ModuleList()
        for i, (depth, head) in enumerate(zip(depths, heads)):
            if i:
                self.pools.append(Pooling(width))
                width *= 2
            self.transformers.append(
                Stage(
                    [
                        Block(width, Attention(width, head), 4, next(rates))
                        for _ in range(depth)
                    ]
                )
            )
        self.norm = layer_norm(width)
        self.out_channels = width
        init_transformer(self)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def features(self, x: Tensor) -> Features:
        """Embedding and stages as maps; the class token pooled."""
        x = self.patch_embed(x) + self.pos_embed
        cls = self.cls_token.expand(x.shape[0], -1, -1)
        stages = [x]
        stage: Any
        for i, stage in enumerate(self.transformers):
            if i:
                pooling: Any = self.pools[i - 1]
                x, cls = pooling.conv(x), pooling.fc(cls)
            size = x.shape[2:]
            tokens = torch.cat([cls, to_tokens(x)], 1)
            for block in stage.blocks:
                tokens = block(tokens)
            cls, x = tokens[:, :1], to_map(tokens[:, 1:], *size)
            stages.append(x)
        return Features(stages, list(stages), self.norm(cls[:, 0]))
