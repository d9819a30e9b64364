"""T2T-ViT."""

import math

import torch
import torch.nn.functional as F
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
)


def sinusoids(length: int, width: int) -> Tensor:
    """Position embedding of *Attention Is All You Need*, (1, L, D)."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    index = torch.arange(width, dtype=torch.float64)
    angle = position / 10000 ** (2 * (index // 2) / width)
    table = torch.where(index % 2 == 0, angle.sin(), angle.cos())
    return table.float()[None]


class Performer(nn.Module):
    """Token transformer with attention linear in the number of tokens.

    Softmax attention through positive random features (Choromanski et al.,
    ICLR 2021); the features are fixed. The values themselves pass by.

    Args:
        inputs (int): Width of the tokens that come in.
        width (int): Width of those that go out.
        features (int): Random features.
    """

    def __init__(self, inputs: int, width: int, features: int) -> None:
        super().__init__()
        self.width = width
        self.norm1 = layer_norm(inputs)
        self.kqv = nn.Linear(inputs, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = layer_norm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        w = nn.init.orthogonal_(torch.empty(features, width))
        self.w = nn.Parameter(w * math.sqrt(features), requires_grad=False)

    def kernel(self, x: Tensor) -> Tensor:
        """Random features of keys or queries, in float32."""
        x = x.float()
        square = x.square().sum(-1, keepdim=True) / 2
        return (x @ self.w.float().t() - square).exp() / math.sqrt(len(self.w))

    def attention(self, x: Tensor) -> Tensor:
        """Values plus their attention."""
        k, q, v = self.kqv(x).split(self.width, -1)
        with torch.autocast(x.device.type, enabled=False):
            k, q = self.kernel(k), self.kernel(q)
            norm = (q * k.sum(1, keepdim=True)).sum(-1, keepdim=True)
            y = q @ (k.transpose(1, 2) @ v.float()) / (norm + 1e-8)
        return v + self.proj(y.to(v.dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TokensToToken(nn.Module):
    """Overlapping patches, gathered three times, 4 x 2 x 2 pixels apart."""

    def __init__(self, width: int, token_width: int) -> None:
        super().__init__()
        features = token_width // 2
        self.attention1 = Performer(3 * 7 * 7, token_width, features)
        self.attention2 = Performer(token_width * 9, token_width, features)
        self.project = nn.Linear(token_width * 9, width)

    def forward(self, x: Tensor) -> Tensor:
        height, width = (n // 4 for n in x.shape[2:])
        x = F.unfold(x, 7, padding=2, stride=4).transpose(1, 2)
        x = to_map(self.attention1(x), height, width)
        x = F.unfold(x, 3, padding=1, stride=2).transpose(1, 2)
        x = to_map(self.attention2(x), height // 2, width // 2)
        return self.project(F.unfold(x, 3, padding=1, stride=2).mT)


@MODELS.register_module()
class T2TViT(Network):
    """T2T-ViT-7 by default (Yuan et al., ICCV 2021), with Performer tokens.

    Keys of the state dict are those of the published code.

    Args:
        width (int): Width of the tokens.
        depth (int): Blocks.
        heads (int): Attention heads.
        image_size (int): Side of the images in pixels, a multiple of 16.
        token_width (int): Width of the tokens while they are gathered.
        drop_path (float): Rate of drop path of the last block.
        init_cfg (dict, optional): As everywhere in MMEngine.

    Raises:
        ValueError: If the size of the images is no multiple of 16.
    """

    def __init__(
        self,
        width: int = 256,
        depth: int = 7,
        heads: int = 4,
        image_size: int = 224,
        token_width: int = 64,
        drop_path: float = 0.1,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if image_size % 16:
            raise ValueError(
                f'image_size must be a multiple of 16, got {image_size}'
            )
        self.out_channels = width
        self.tokens_to_token = TokensToToken(width, token_width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        length = (image_size // 16) ** 2 + 1
        self.pos_embed = nn.Parameter(
            sinusoids(length, width), requires_grad=False
        )
        self.blocks = nn.ModuleList(
            Block(width, Attention(width, heads, bias=False), 2, rate)
            for rate in drop_rates(drop_path, depth)
        )
        self.norm = layer_norm(width)
        init_transformer(self)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def features(self, x: Tensor) -> Features:
        """Tokens before and after the blocks; the class token pooled."""
        x = self.tokens_to_token(x)
        cls = self.cls_token.expand(x.shape[0], -1, -1)
        first = torch.cat([cls, x], 1) + self.pos_embed
        x = first
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return Features([first, x], [first, x], x[:, 0])
