"""Feature maps of a network, as the feature losses see them."""

from typing import List, NamedTuple, Optional

from torch import Tensor


class Features(NamedTuple):
    """The layers of a network that distillation methods refer to.

    Attributes:
        stages (list[Tensor]): Outputs of the stem and of the stages, after
            their activation, shallow first. Shape (B, C, H, W), or (B, L, C)
            for transformers without a grid.
        preacts (list[Tensor]): The same before their last activation. Where
            a stage ends without one, its output.
        pooled (Tensor, optional): What the classification head sees, (B, D).
    """

    stages: List[Tensor]
    preacts: List[Tensor]
    pooled: Optional[Tensor]
