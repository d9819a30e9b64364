"""PVT, with a class token."""

from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS

from .base import Features, InitCfg, Network
from .transformer import (
    Block,
    drop_rates,
    init_transformer,
    layer_norm,
    to_map,
    to_tokens,
)


class PatchEmbed(nn.Module):
    """Patches of a map to normalised tokens."""

    def __init__(self, inputs: int, width: int, size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, size, size)
        self.norm = layer_norm(width)


class ReducedAttention(nn.Module):
    """Attention whose keys and values come from a smaller map."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.sr = self.norm = None
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = layer_norm(width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        batch, length, channels = x.shape
        q = self.q(x).view(batch, length, self.heads, -1).transpose(1, 2)
        if self.sr is not None and self.norm is not None:
            x = self.norm(to_tokens(self.sr(to_map(x, height, width))))
        kv = self.kv(x).view(batch, x.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(batch, length, channels))


@MODELS.register_module()
class PVT(Network):
    """PVT-Tiny by default (Wang et al., ICCV 2021), the version with a class
    token in its last stage. Keys are those of the published code.

    Args:
        widths (Sequence[int]): Widths of the tokens of the four stages.
        depths (Sequence[int]): Blocks of the stages.
        heads (Sequence[int]): Attention heads of the stages.
        mlp_ratios (Sequence[int]): Ratios of the MLPs of the stages.
        reductions (Sequence[int]): Reductions of the maps of keys and values.
        image_size (int): Side of the images in pixels, a multiple of 32.
        drop_path (float): Rate of drop path of the last block.
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 320, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[int] = (8, 8, 4, 4),
        reductions: Sequence[int] = (8, 4, 2, 1),
        image_size: int = 224,
        drop_path: float = 0.1,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.count = len(widths)
        self.out_channels = widths[-1]
        rates = iter(drop_rates(drop_path, sum(depths)))
        channels, side = 3, image_size
        for i, width in enumerate(widths):
            patch = 2 if i else 4
            side //= patch
            is_last = i == self.count - 1
            name = str(i + 1)
            self.add_module(
                'patch_embed' + name, PatchEmbed(channels, width, patch)
            )
            self.register_parameter(
                'pos_embed' + name,
                nn.Parameter(torch.zeros(1, side * side + is_last, width)),
            )
            self.add_module(
                'block' + name,
                nn.ModuleList(
                    Block(
                        width,
                        ReducedAttention(width, heads[i], reductions[i]),
                        mlp_ratios[i],
                        next(rates),
                    )
                    for _ in range(depths[i])
                ),
            )
            channels = width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.norm = layer_norm(channels)
        init_transformer(self)
        for name, parameter in self.named_parameters():
            if name.startswith(('pos_embed', 'cls_token')):
                nn.init.trunc_normal_(parameter, std=0.02)

    def features(self, x: Tensor) -> Features:
        """The stages as maps; the class token pooled."""
        stages = []
        for i in range(1, self.count + 1):
            embed = getattr(self, f'patch_embed{i}')
            x = embed.proj(x)
            size = x.shape[2:]
            tokens = embed.norm(to_tokens(x))
            if i == self.count:
                cls = self.cls_token.expand(x.shape[0], -1, -1)
                tokens = torch.cat([cls, tokens], 1)
            tokens = tokens + getattr(self, f'pos_embed{i}')
            for block in getattr(self, f'block{i}'):
                tokens = block(tokens, *size)
            if i == self.count:
                tokens = self.norm(tokens)
                cls, tokens = tokens[:, 0], tokens[:, 1:]
            x = to_map(tokens, *size)
            stages.append(x)
        return Features(stages, list(stages), cls)
