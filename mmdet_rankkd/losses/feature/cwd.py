"""CWD: channel-wise distillation."""

from typing import Any, List, Optional, Sequence, Tuple

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import DistillBatch, Features, Probe

from ..base import without_autocast
from .base import (
    FeatureLoss,
    align,
    check_images,
    check_sizes,
    in_float,
    pair_levels,
)

MAPS = ('features', 'classes')


@without_autocast
def cwd_loss(
    student: Tensor, teacher: Tensor, temperature: float = 1.0
) -> Tensor:
    r"""Divergence of two maps, each channel a distribution over the places.

    :math:`L = \frac{T^2}{B C} \sum_{b, c} \sum_i \phi(f^t_{bc})_i
    \log \frac{\phi(f^t_{bc})_i}{\phi(f^s_{bc})_i}` with :math:`\phi` the
    softmax of :math:`f / T` over the H * W places (Shu et al., *Channel-wise
    Knowledge Distillation for Dense Prediction*, ICCV 2021, Eq. 4 and 5).

    Args:
        student (Tensor): Adapted map, shape (B, C, H, W).
        teacher (Tensor): Shape (B, C, H, W); detached.
        temperature (float): T, positive.

    Returns:
        Tensor: A scalar, at least 0, in float32 for half-precision input; a
        constant on a channel does not count. Zero, attached to the graph,
        for no image, channel or place.

    Raises:
        ValueError: If the shapes differ.
    """
    check_images(student, teacher, 'cwd_loss')
    if student.shape != teacher.shape:
        raise ValueError(
            f'maps must have one shape, got {tuple(student.shape)} of the '
            f'student and {tuple(teacher.shape)} of the teacher'
        )
    student, teacher = in_float(student, teacher.detach())
    log_s, log_t = (
        F.log_softmax(x.flatten(2) / temperature, 2)
        for x in (student, teacher)
    )
    total = F.kl_div(log_s, log_t, reduction='sum', log_target=True)
    channels = max(student.shape[0] * student.shape[1], 1)
    return temperature**2 * total / channels


@MODELS.register_module()
class CWDLoss(FeatureLoss):
    """Registered form of :func:`cwd_loss`, the sum over levels.

    Of features, a level whose channels differ gets a 1 x 1 convolution on
    the student's side, as in the paper. Maps of classes are those of the
    logits of a dense head, a channel for each anchor and class, whatever the
    rows weigh; nothing is learnt then. They are put together from the rows
    of ``DenseLogits`` with ``locations='all'`` or ``'teacher'`` and the sizes
    of the student's levels of the neck.

    Published weights, with temperature 1 and all five levels: 10 for
    features of Faster R-CNN and RetinaNet, 5 for maps of classes of GFL.

    Args:
        levels (Sequence[int], optional): Levels by index; all by default.
        maps (str): ``'features'`` or ``'classes'``.
        temperature (float): Divisor of the maps, positive.
        loss_weight (float): Weight of each level; by default 10 for features
            and 5 for classes.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.

    Raises:
        ValueError: If a setting is out of its range.
    """

    loss_name = 'loss_cwd'

    def __init__(
        self,
        levels: Optional[Sequence[int]] = None,
        maps: str = 'features',
        temperature: float = 1.0,
        loss_weight: Optional[float] = None,
        **kwargs: Any,
    ) -> None:
        if maps not in MAPS:
            raise ValueError(f'maps must be one of {MAPS}, got {maps!r}')
        if not temperature > 0:
            raise ValueError(f'temperature must be positive: {temperature}')
        if loss_weight is None:
            loss_weight = 10.0 if maps == 'features' else 5.0
        super().__init__(loss_weight=loss_weight, **kwargs)
        self.levels = levels
        self.maps = maps
        self.temperature = temperature
        self.adapters = nn.ModuleList()

    def attach(self, probe: Probe) -> None:
        """Have the features recorded, and logits of all places."""
        if self.maps == 'classes':
            probe.every_place("CWDLoss(maps='classes')")
        super().attach(probe)

    def build(self, student: Features, teacher: Features) -> None:
        """One adapter a level, where features are compared.

        Raises:
            ValueError: If a level is not there, or has different sizes.
        """
        if self.levels is None:
            self.levels = range(len(student.stages))
        pairs = pair_levels(student, teacher, self.levels, 'CWDLoss')
        check_sizes(pairs, self.levels, 'CWDLoss')
        if self.maps == 'features':
            self.adapters.extend(align(s, t) for s, t in pairs)

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of the features, or of the maps of classes."""
        layers = batch.layers('CWDLoss')
        if self.maps == 'features':
            return self(*layers)
        sizes = [tuple(x.shape) for x in layers.student.stages]
        logits = batch.logits
        maps = (class_maps(x, sizes) for x in (logits.student, logits.teacher))
        return self(*(Features(x, x, None) for x in maps))

    def compare(self, student: Features, teacher: Features) -> Tensor:
        """See :func:`cwd_loss`."""
        assert self.levels is not None
        total = student.stages[0].new_zeros(()).float()
        for i, level in enumerate(self.levels):
            s, t = student.stages[level], teacher.stages[level]
            if self.adapters:
                s = self.adapters[i](s)
            total = total + cwd_loss(s, t, self.temperature)
        return total


def class_maps(rows: Tensor, sizes: Sequence[Tuple[int, ...]]) -> List[Tensor]:
    """Logits of all places and anchors of a dense head as maps again.

    Args:
        rows (Tensor): Shape (N, K), levels one after the other, in each the
            images, rows, columns and anchors.
        sizes (Sequence[tuple[int]]): (B, C, H, W) of each level's features.

    Returns:
        list[Tensor]: Shape (B, A * K, H, W), a level.

    Raises:
        ValueError: If the rows are not those of the levels.
    """
    places = [b * h * w for b, _, h, w in sizes]
    anchors, rest = divmod(len(rows), max(sum(places), 1))
    if rest or not anchors:
        raise ValueError(
            "CWDLoss(maps='classes') needs a row for every place of the "
            f'levels: there are {len(rows)} rows for {sum(places)} places. '
            "Record logits=dict(type='mmdet_rankkd.DenseLogits') with "
            "locations='teacher' or 'all', and as features the levels of the "
            'neck that the head is on; two-stage detectors have '
            "maps='features'"
        )
    levels = rows.split([anchors * n for n in places])
    return [
        x.reshape(b, h, w, -1).permute(0, 3, 1, 2)
        for x, (b, _, h, w) in zip(levels, sizes)
    ]
