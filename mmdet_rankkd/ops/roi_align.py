"""RoIAlign by matrix products, for processors."""

from typing import Sequence, Tuple

import torch
from torch import Tensor
from torch.autograd.function import (
    BackwardCFunction,
    FunctionCtx,
    once_differentiable,
)


def roi_align(
    features: Tensor,
    rois: Tensor,
    size: Tuple[int, int],
    scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    r"""RoIAlign (He et al., ICCV 2017), averages of bilinear samples.

    The samples of a box are on a grid, and the weights of bilinear
    interpolation are a product of one for the row and one for the column, so
    that the average over a bin is one of rows and one of columns:

    .. math:: o_{cij} = \sum_y A_{iy} \sum_x B_{jx} f_{cyx}.

    Values and gradients are those of ``mmcv.ops.roi_align`` but for rounding.
    It is for processors: boxes are taken one by one.

    Args:
        features (Tensor): Shape (B, C, H, W), float32 or float64; any memory
            format, ``channels_last`` saves a copy.
        rois (Tensor): Shape (N, 5): image index, x1, y1, x2, y2, of the same
            dtype. They get no gradient.
        size (tuple[int, int]): Height h and width w of the result.
        scale (float): Cells of the map per unit of the boxes.
        sampling_ratio (int): Samples of a bin a side; one a cell if it is not
            positive.
        aligned (bool): Cells are at their centres. Otherwise as before
            Detectron2: at their corners, and boxes have a cell at least.

    Returns:
        Tensor: Shape (N, C, h, w), dtype of the features, also under
        autocast. Aligned boxes without an area give zeros where samples are
        one a cell.

    Raises:
        ValueError: If a box is not finite or, aligned, has a negative side.
    """
    if not len(rois):
        return features.sum() * features.new_zeros(0, features.shape[1], *size)
    rois = rois.detach()
    boxes = rois[:, 1:] * scale - (0.5 if aligned else 0)
    start, length = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    if not aligned:
        length = length.clamp(min=1)
    if not (rois.isfinite().all() and (length >= 0).all()):
        raise ValueError(
            'roi_align: boxes must be finite, with x1 <= x2 and y1 <= y2. '
            'Where a detector has others, its training has diverged'
        )
    height, width = features.shape[2:]
    rows, *vertical = _weights(
        start[:, 1], length[:, 1], size[0], height, sampling_ratio
    )
    columns, *horizontal = _weights(
        start[:, 0], length[:, 0], size[1], width, sampling_ratio
    )
    sides = [rois[:, 0].long(), *vertical, *horizontal]
    places = torch.stack(sides, 1)
    pooled: Tensor = _Products.apply(features, rows, columns, places)
    return pooled


class _Products(torch.autograd.Function):
    """The two products of each box, on the cells that it covers."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        features: Tensor,
        rows: Tensor,
        columns: Tensor,
        places: Tensor,
    ) -> Tensor:
        maps = features.permute(0, 2, 3, 1).contiguous()
        size = rows.shape[1], columns.shape[1]
        result = maps.new_empty(len(places), *size, maps.shape[3])
        with torch.autocast(features.device.type, enabled=False):
            for index, (image, y, h, x, w) in enumerate(places.tolist()):
                crop = maps[image, y : y + h, x : x + w]
                by_column = columns[index, :, :w] @ crop
                torch.matmul(
                    rows[index, :, :h],
                    by_column.flatten(1),
                    out=result[index].flatten(1),
                )
        shape = torch.tensor(maps.shape)
        ctx.save_for_backward(rows, columns, places, shape)
        return result.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: BackwardCFunction, grad: Tensor
    ) -> Tuple[Tensor, None, None, None]:
        saved: Sequence[Tensor] = ctx.saved_tensors
        rows, columns, places, shape = saved
        grad = grad.permute(0, 2, 3, 1).contiguous()
        maps = grad.new_zeros(shape.tolist())
        with torch.autocast(grad.device.type, enabled=False):
            for index, (image, y, h, x, w) in enumerate(places.tolist()):
                crop = maps[image, y : y + h, x : x + w]
                by_column = rows[index, :, :h].T @ grad[index].flatten(1)
                by_column = by_column.unflatten(1, grad.shape[2:])
                crop += columns[index, :, :w].T @ by_column
        return maps.permute(0, 3, 1, 2), None, None, None


def _weights(
    start: Tensor, length: Tensor, bins: int, cells: int, sampling_ratio: int
) -> Tuple[Tensor, Tensor, Tensor]:
    """Weights of cells in bins along an axis.

    Args:
        start (Tensor): First edge of each box in cells, shape (N,).
        length (Tensor): Its length, shape (N,).
        bins (int): Bins of a box.
        cells (int): Cells of the map.
        sampling_ratio (int): Samples of a bin; one a cell if not positive.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Weights, shape (N, bins, cells of the
        largest box); the first cell of each box and how many it has, (N,).
    """
    width = length / bins
    if sampling_ratio > 0:
        count = torch.full_like(width, sampling_ratio)
    else:
        count = width.ceil()
    steps = torch.arange(max(1, int(count.max())), device=start.device)
    edges = torch.arange(bins, device=start.device)[:, None]
    start, width, count = (x[:, None, None] for x in (start, width, count))
    places = start + edges * width + (steps + 0.5) * width / count
    counts = (steps < count) & (places >= -1) & (places <= cells)
    weights = counts / count.clamp(min=1)
    places = places.where(counts, start).clamp(0, cells - 1)
    low = places.floor()
    weights_high = weights * (places - low)
    low = low.long()
    high = (low + 1).clamp(max=cells - 1)
    first = low.flatten(1).amin(1)
    offset = first[:, None, None]
    extent = (high - offset).flatten(1).amax(1) + 1
    matrix = start.new_zeros(len(start), bins, int(extent.max()))
    matrix.scatter_add_(2, low - offset, weights - weights_high)
    matrix.scatter_add_(2, high - offset, weights_high)
    return matrix, first, extent
