"""RoIAlign layers that work by matrix products on a processor."""

from functools import partial
from typing import Callable, List

import torch
from mmcv.ops import RoIAlign
from torch import Tensor, nn

from mmdet_rankkd.ops import roi_align

#: In others mmcv's layers go on.
DTYPES = (torch.float32, torch.float64)


def averaging_layers(model: nn.Module) -> List[RoIAlign]:
    """RoIAlign layers of a model that average by mmcv's own operation."""
    return [
        x
        for x in model.modules()
        if isinstance(x, RoIAlign)
        and type(x).forward is RoIAlign.forward
        and x.pool_mode == 'avg'
        and not x.use_torchvision
    ]


def is_fast(layer: RoIAlign) -> bool:
    """Whether :func:`pool_fast` has changed a layer."""
    own = vars(layer).get('forward')
    return isinstance(own, partial) and own.func is _pool


def waits_for_roi_align(model: nn.Module) -> bool:
    """Whether a model is on a processor and its RoIAlign is mmcv's.

    Args:
        model (nn.Module): A detector or classifier.
    """
    slow = any(not is_fast(x) for x in averaging_layers(model))
    return slow and next(model.parameters()).device.type == 'cpu'


def pool_fast(model: nn.Module) -> int:
    """Have RoIAlign layers of a model work by :func:`ops.roi_align`.

    Args:
        model (nn.Module): A detector, changed in place.

    Returns:
        int: How many layers do now.
    """
    layers = averaging_layers(model)
    for layer in layers:
        if not is_fast(layer):
            layer.forward = partial(_pool, layer, layer.forward)
    return len(layers)


def _pool(
    layer: RoIAlign,
    slow: Callable[..., Tensor],
    input: Tensor,
    rois: Tensor,
) -> Tensor:
    if input.device.type != 'cpu' or input.dtype not in DTYPES:
        return slow(input, rois)
    return roi_align(
        input,
        rois,
        layer.output_size,
        layer.spatial_scale,
        layer.sampling_ratio,
        layer.aligned,
    )
