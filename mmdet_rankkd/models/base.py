"""What every network of this package has in common."""

from typing import List, Optional, Tuple, Union

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_rankkd.structures import Features

#: As everywhere in MMEngine.
InitCfg = Union[dict, List[dict], None]


class Network(BaseModule):
    """A backbone that ends in one vector an image.

    Subclasses implement :meth:`features`. The state dict has the names of
    the reference implementations, so that their checkpoints need no more than
    a prefix (``rankkd convert``).
    """

    #: Width of ``Features.pooled``.
    out_channels: int

    def features(self, x: Tensor) -> Features:
        """All layers of one pass over images of shape (B, 3, H, W)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tuple[Optional[Tensor], ...]:
        """A tuple of the pooled vector, as heads expect it."""
        return (self.features(x).pooled,)

    def last_norms(self) -> List[nn.BatchNorm2d]:
        """Batch norms before the last ReLU of each stage, without the stem.

        Empty where there are none.
        """
        return []


def pool(x: Tensor) -> Tensor:
    """Global average pooling: (B, C, H, W) to (B, C)."""
    return x.mean((2, 3))


def conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution without bias that keeps the size, but for the stride."""
    return nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride,
        kernel // 2,
        groups=groups,
        bias=False,
    )


def init_fan_out(module: nn.Module) -> None:
    """Normal with a variance of 2 over fan-out for every convolution."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            fan_out = m.out_channels * m.kernel_size[0] * m.kernel_size[1]
            nn.init.normal_(m.weight, 0, (2 / fan_out) ** 0.5)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
