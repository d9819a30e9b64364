"""Parts that the vision transformers of this package share."""

from typing import Any

import torch.nn.functional as F
from mmcv.cnn.bricks.drop import DropPath
from torch import Tensor, nn


def layer_norm(width: int) -> nn.LayerNorm:
    """Layer norm with the epsilon that tiny-transformers has everywhere.

    The recipes of the paper's Table 4 are its; the first code of PVT and
    T2T-ViT has PyTorch's 1e-5 in some or all of its norms.

    Args:
        width (int): Width of the tokens.
    """
    return nn.LayerNorm(width, eps=1e-6)


class Attention(nn.Module):
    """Multi-head self-attention over (B, L, D)."""

    def __init__(self, width: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(batch, length, width))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block.

    Args:
        width (int): Width of the tokens.
        attention (nn.Module): Called on normalised tokens.
        mlp_ratio (int): Width of the hidden layer over ``width``.
        drop_path (float): Probability of skipping a branch for an image.
    """

    def __init__(
        self,
        width: int,
        attention: nn.Module,
        mlp_ratio: int,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = layer_norm(width)
        self.attn = attention
        self.norm2 = layer_norm(width)
        self.mlp = Mlp(width, mlp_ratio * width)
        self.drop_path: Any = DropPath(drop_path)

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), *args))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def drop_rates(last: float, depth: int) -> list:
    """Drop-path probabilities, from 0 in even steps to ``last``."""
    return [last * i / max(depth - 1, 1) for i in range(depth)]


def init_transformer(module: nn.Module) -> None:
    """Truncated normal (0.02) linear layers, plain layer norms."""
    for m in module.modules():
        if isinstance(m, nn.Linear):
            nn.init.trunc_normal_(m.weight, std=0.02)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


def to_tokens(x: Tensor) -> Tensor:
    """(B, D, H, W) to (B, H * W, D)."""
    return x.flatten(2).transpose(1, 2)


def to_map(x: Tensor, height: int, width: int) -> Tensor:
    """(B, H * W, D) to (B, D, H, W)."""
    return x.transpose(1, 2).reshape(x.shape[0], -1, height, width)
