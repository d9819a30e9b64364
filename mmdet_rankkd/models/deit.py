"""DeiT."""

from typing import Optional, Tuple

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
    to_tokens,
)


class PatchEmbed(nn.Module):
    """Patches of an image to tokens."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, size, size)

    def forward(self, x: Tensor) -> Tensor:
        return to_tokens(self.proj(x))


@MODELS.register_module()
class DeiT(Network):
    """DeiT-Tiny by default (Touvron et al., ICML 2021).

    Keys of the state dict are timm's.

    Args:
        width (int): Width of the tokens.
        depth (int): Blocks.
        heads (int): Attention heads.
        image_size (int): Side of the images in pixels.
        patch_size (int): Side of a patch in pixels.
        drop_path (float): Rate of drop path of the last block.
        distilled (bool): Add a distillation token. ``forward`` then gives
            the class token and that one, for a ``DistilledHead``.
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    def __init__(
        self,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        image_size: int = 224,
        patch_size: int = 16,
        drop_path: float = 0.1,
        distilled: bool = False,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_channels = width
        self.patch_embed = PatchEmbed(patch_size, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = (
            nn.Parameter(torch.zeros(1, 1, width)) if distilled else None
        )
        length = (image_size // patch_size) ** 2 + 1 + distilled
        self.pos_embed = nn.Parameter(torch.zeros(1, length, width))
        self.blocks = nn.ModuleList(
            Block(width, Attention(width, heads), 4, rate)
            for rate in drop_rates(drop_path, depth)
        )
        self.norm = layer_norm(width)
        init_transformer(self)
        for token in (self.cls_token, self.dist_token, self.pos_embed):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02)

    def tokens(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        """Tokens before the blocks, and after them, normalised."""
        x = self.patch_embed(x)
        tokens = [self.cls_token.expand(x.shape[0], -1, -1)]
        if self.dist_token is not None:
            tokens.append(self.dist_token.expand(x.shape[0], -1, -1))
        first = torch.cat([*tokens, x], 1) + self.pos_embed
        x = first
        for block in self.blocks:
            x = block(x)
        return first, self.norm(x)

    def features(self, x: Tensor) -> Features:
        """Tokens before and after the blocks; the class token pooled."""
        first, last = self.tokens(x)
        return Features([first, last], [first, last], last[:, 0])

    def forward(self, x: Tensor) -> Tuple[Optional[Tensor], ...]:
        """The class token, and the distillation token where there is one."""
        last = self.features(x).stages[-1]
        return (last[:, 0],) + (
            () if self.dist_token is None else (last[:, 1],)
        )
