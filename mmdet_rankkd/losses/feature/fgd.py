"""FGD: focal and global distillation."""

from typing import Any, List, Optional, Sequence, Tuple

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import DistillBatch, Features

from ..base import without_autocast
from .base import FeatureLoss, align, check_sizes, in_float, pair_levels


def attention(x: Tensor, temperature: float) -> Tuple[Tensor, Tensor]:
    """Attention over the places and over the channels of a map.

    Softmax of the mean absolute values, over the other axes, divided by the
    temperature; times the number of places or channels.

    Args:
        x (Tensor): Shape (B, C, H, W).
        temperature (float): Divisor of the means, positive.

    Returns:
        tuple[Tensor, Tensor]: Shapes (B, H, W) and (B, C), of mean 1.
    """
    channels, height, width = x.shape[1:]
    size = x.abs()
    places = (size.mean(1).flatten(1) / temperature).softmax(1)
    places = height * width * places.view(-1, height, width)
    return places, channels * (size.mean((2, 3)) / temperature).softmax(1)


@without_autocast
def fgd_focal_loss(
    student: Tensor,
    teacher: Tensor,
    foreground: Tensor,
    temperature: float = 0.5,
    foreground_weight: float = 1e-3,
    background_weight: float = 5e-4,
    attention_weight: float = 5e-4,
) -> Tensor:
    r"""Squared difference of maps on and off objects, by attention.

    With the teacher's attention to places, :math:`A^S`, and to channels,
    :math:`A^C` (:func:`attention`),

    .. math::
        L = \frac{1}{B} \sum_{b, i, c} (\alpha M_{bi} + \beta N_{bi})
        A^S_{bi} A^C_{bc} (f^t_{bci} - f^s_{bci})^2 + \frac{\gamma}{B}
        \big(\lVert A^S - A^S_s \rVert_1 + \lVert A^C - A^C_s \rVert_1\big)

    (Yang et al., *Focal and Global Knowledge Distillation for Detectors*,
    CVPR 2022, Eq. 9 and 10). M is given; N is 1 where M is 0, divided by the
    number of such places in the image.

    Args:
        student (Tensor): Adapted map, shape (B, C, H, W).
        teacher (Tensor): Shape (B, C, H, W); detached.
        foreground (Tensor): M, shape (B, H, W), at least 0; see
            :func:`object_mask`.
        temperature (float): Temperature of the attention, positive.
        foreground_weight (float): Weight alpha of places of objects.
        background_weight (float): Weight beta of all other places.
        attention_weight (float): Weight gamma of the attentions.

    Returns:
        Tensor: A scalar, at least 0, in float32 for half-precision input;
        zero, attached to the graph, for empty maps. Images without objects
        count by their background.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_shapes(student, teacher)
    student, teacher = in_float(student, teacher.detach())
    if not student.numel():
        return student.sum()
    images = len(student)
    places, channels = attention(teacher, temperature)
    others = attention(student, temperature)
    foreground = foreground.to(student)
    background = (foreground == 0).to(student)
    background = background / background.sum((1, 2), True).clamp(min=1)
    mask = foreground_weight * foreground + background_weight * background
    squares = (student - teacher).square() * channels[:, :, None, None]
    focal = (squares.sum(1) * places * mask).sum()
    apart = (places - others[0]).abs().sum() + (
        channels - others[1]
    ).abs().sum()
    return (focal + attention_weight * apart) / images


@without_autocast
def fgd_global_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared difference of maps with their context.

    :math:`L = \frac{1}{B} \lVert R_s(f^s) - R_t(f^t) \rVert^2` (Eq. 11 of
    the same), before the weight lambda, with :class:`ContextBlock` R.

    Args:
        student (Tensor): Map with context, shape (B, C, H, W).
        teacher (Tensor): Map with context, shape (B, C, H, W). Not
            detached: its block is trained as well.

    Returns:
        Tensor: A scalar, at least 0, in float32 for half-precision input;
        zero, attached to the graph, for empty maps.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_shapes(student, teacher)
    student, teacher = in_float(student, teacher)
    return (student - teacher).square().sum() / max(len(student), 1)


def _check_shapes(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ValueError(
            f'maps must have one shape, got {tuple(student.shape)} of the '
            f'student and {tuple(teacher.shape)} of the teacher'
        )


class ContextBlock(nn.Module):
    """A map plus what its weighted mean over the places is turned into.

    The block of GCNet (Cao et al., ICCV 2019): the weights of the mean are a
    softmax of a 1 x 1 convolution; 1 x 1 convolution to half of the
    channels, layer norm, ReLU and 1 x 1 convolution turn it into what is
    added, at first nothing. In its own dtype, also under autocast.

    Args:
        channels (int): Channels of the map, C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = max(channels // 2, 1)
        self.mask = nn.Conv2d(channels, 1, 1)
        last = nn.Conv2d(half, channels, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, half, 1),
            nn.LayerNorm([half, 1, 1]),
            nn.ReLU(),
            last,
        )
        nn.init.kaiming_normal_(self.mask.weight)
        nn.init.zeros_(self.mask.get_parameter('bias'))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.get_parameter('bias'))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, C, H, W) to the same."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.mask.weight.dtype)
            weights = self.mask(x).flatten(2).softmax(2)
            context = x.flatten(2) @ weights.transpose(1, 2)
            return x + self.transform(context[..., None])


@MODELS.register_module()
class FGDLoss(FeatureLoss):
    """Focal and global loss of the levels of a neck.

    The sum over levels of :func:`fgd_focal_loss`, on masks of the
    ground-truth boxes, and of ``global_weight`` times
    :func:`fgd_global_loss`, with a :class:`ContextBlock` for each level of
    each network. A level whose channels differ gets a 1 x 1 convolution on
    the student's side before.

    For detectors; boxes are those of the batch, in pixels of the student's
    input. Published settings (temperature; weights of foreground,
    background, attention and global part; levels):

    - RetinaNet, GFL: 0.5; 1e-3, 5e-4, 5e-4, 5e-6; 0 to 4. The defaults.
    - RepPoints: 0.5; FCOS: 0.8; both 1.6e-3, 8e-4, 8e-4, 8e-6; 0 to 4.
    - Faster and Mask R-CNN: 0.5; 5e-5, 2.5e-5, 5e-5, 5e-7; 0 to 3.

    Args:
        levels (Sequence[int]): Levels of the neck, by index.
        temperature (float): Temperature of the attention, positive.
        foreground_weight (float): Weight of the places on objects.
        background_weight (float): Weight of all others.
        attention_weight (float): Weight of the difference of attention.
        global_weight (float): Weight of the global part.
        reference_slip (bool): Do as the published code, which scales boxes
            by the size of the image, where the map is of the padded one: in
            a batch of images of several sizes, its masks are off the
            objects.
        loss_weight (float): Factor on the whole.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.

    Raises:
        ValueError: If the temperature is not positive, or a weight negative.
    """

    loss_name = 'loss_fgd'

    def __init__(
        self,
        levels: Sequence[int] = (0, 1, 2, 3, 4),
        temperature: float = 0.5,
        foreground_weight: float = 1e-3,
        background_weight: float = 5e-4,
        attention_weight: float = 5e-4,
        global_weight: float = 5e-6,
        reference_slip: bool = False,
        loss_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        focal = (foreground_weight, background_weight, attention_weight)
        if not temperature > 0 or not min(*focal, global_weight) >= 0:
            raise ValueError(
                'FGDLoss needs a positive temperature and weights of at least '
                f'0, got {temperature} and {(*focal, global_weight)}'
            )
        self.levels = tuple(levels)
        self.focal = (temperature, *focal)
        self.global_weight = global_weight
        self.reference_slip = reference_slip
        self.adapters = nn.ModuleList()
        self.contexts = nn.ModuleDict(
            dict(student=nn.ModuleList(), teacher=nn.ModuleList())
        )

    def build(self, student: Features, teacher: Features) -> None:
        """One adapter and two context blocks a level.

        Raises:
            ValueError: If a level is not there, or has different sizes.
        """
        pairs = pair_levels(student, teacher, self.levels, 'FGDLoss')
        check_sizes(pairs, self.levels, 'FGDLoss')
        blocks: Any = self.contexts
        for s, t in pairs:
            self.adapters.append(align(s, t))
            for who in blocks:
                blocks[who].append(ContextBlock(t.shape[1]))

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of a batch, on masks of its boxes."""
        layers = batch.layers('FGDLoss')
        masks = object_masks(
            layers.student.stages,
            batch.ground_truth('FGDLoss'),
            self.reference_slip,
        )
        return self(*layers, masks=masks)

    def forward(
        self,
        student: Features,
        teacher: Features,
        masks: Optional[List[Tensor]] = None,
    ) -> Tensor:
        """Weighted loss, with a mask for each level of the neck.

        Raises:
            ValueError: If there are no masks.
        """
        if masks is None:
            raise ValueError('FGDLoss needs the masks of the levels')
        total = student.stages[0].new_zeros(()).float()
        blocks: Any = self.contexts
        for i, level in enumerate(self.levels):
            # In float32 once, so that the two gradients add up in it.
            s, t = in_float(
                self.adapters[i](student.stages[level]),
                teacher.stages[level].detach(),
            )
            focal = fgd_focal_loss(s, t, masks[level], *self.focal)
            contexts = blocks['student'][i](s), blocks['teacher'][i](t)
            total = total + focal
            total = total + self.global_weight * fgd_global_loss(*contexts)
        return self.current_weight * total


def object_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """Where objects are, each place by the smallest object that covers it.

    An object covers the cells from its edges rounded down to its edges
    rounded up, both included; its places count one over their number, before
    those outside the map are cut off.

    Args:
        boxes (Tensor): Boxes in cells of the map, x1, y1, x2, y2, shape (G,
            4).
        height (int): Height of the map, H.
        width (int): Width of the map, W.

    Returns:
        Tensor: Shape (H, W), in [0, 1]; 0 off the objects.
    """
    if not len(boxes):
        return boxes.new_zeros(height, width)
    low, high = boxes[:, :2].floor(), boxes[:, 2:].ceil()
    columns, rows = (
        (cells >= low[:, i, None]) & (cells <= high[:, i, None])
        for i, cells in enumerate(
            torch.arange(n, device=boxes.device) for n in (width, height)
        )
    )
    weight = 1 / (high + 1 - low).prod(1)
    inside = rows[:, :, None] & columns[:, None]
    return (inside * weight[:, None, None]).amax(0)


def object_masks(
    maps: Sequence[Tensor],
    data_samples: Sequence[BaseDataElement],
    slip: bool = False,
) -> List[Tensor]:
    """The :func:`object_mask` of each image for every level of a neck.

    Args:
        maps (Sequence[Tensor]): Levels of the neck, (B, C, H, W).
        data_samples (Sequence): Data samples of a training batch.
        slip (bool): ``reference_slip`` of :class:`FGDLoss`.

    Returns:
        list[Tensor]: Shape (B, H, W), a level.

    Raises:
        ValueError: If there are no boxes, or sizes of the images.
    """
    key = 'img_shape' if slip else 'batch_input_shape'
    images = []
    for sample in data_samples:
        objects, size = sample.get('gt_instances'), sample.get(key)
        if objects is None or size is None:
            raise ValueError(
                'FGDLoss needs the ground-truth boxes of each image and its '
                f'{key}, as the data preprocessors of detectors give them'
            )
        boxes = getattr(objects.bboxes, 'tensor', objects.bboxes)
        sides = maps[0].new_tensor([size[1], size[0]]).float()
        images.append(boxes.to(sides) / sides.repeat(2))
    masks = []
    for x in maps:
        height, width = x.shape[2:]
        scale = torch.tensor([width, height] * 2, device=x.device)
        masks.append(
            torch.stack(
                [object_mask(b * scale, height, width) for b in images]
            )
        )
    return masks
