"""What every feature loss shares."""

from typing import List, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmdet_rankkd.structures import DistillBatch, Features, Probe

from ..base import DistillLoss


class FeatureLoss(DistillLoss):
    """Shell of the losses of feature maps.

    Subclasses implement :meth:`compare`; those that learn something of their
    own make it in :meth:`build`. It is trained by the student's optimizer,
    saved under ``distiller.``, resumed, and never exported.

    Student and teacher are given as ``Features``: lists ``stages`` and
    ``preacts`` of maps, shallow first, and ``pooled`` or None.
    """

    def attach(self, probe: Probe) -> None:
        """Have the features recorded; see :meth:`build`."""
        self.build(*probe.features())

    def build(self, student: Features, teacher: Features) -> None:
        """Make adapters for the shapes of student and teacher.

        Args:
            student (Features): Features of one image.
            teacher (Features): Those of the teacher for the same image.

        Raises:
            ValueError: If the two cannot be compared.
        """

    def compare(self, student: Features, teacher: Features) -> Tensor:
        """The loss, a scalar; the teacher's features carry no graph."""
        raise NotImplementedError

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of the features of a batch."""
        return self(*batch.layers(type(self).__name__))

    def forward(self, student: Features, teacher: Features) -> Tensor:
        """Weighted loss of the features of a batch."""
        return self.current_weight * self.compare(student, teacher)


def in_float(*maps: Tensor) -> Tuple[Tensor, ...]:
    """Maps in float32, or in float64 if they are."""
    return tuple(
        m.to(torch.promote_types(m.dtype, torch.float32)) for m in maps
    )


def choose(
    maps: List[Tensor], levels: Sequence[int], who: str
) -> List[Tensor]:
    """Maps by their index.

    Raises:
        ValueError: If there is no such map.
    """
    if not levels or max(levels) >= len(maps) or min(levels) < -len(maps):
        raise ValueError(
            f'{who} has {len(maps)} feature maps; levels {tuple(levels)} are '
            'not all among them'
        )
    return [maps[i] for i in levels]


def check_maps(maps: Sequence[Tensor], who: str, loss: str) -> None:
    """Raise ValueError unless all have the shape (B, C, H, W)."""
    for m in maps:
        if m.dim() != 4:
            raise ValueError(
                f'{loss} compares maps of shape (B, C, H, W); the {who} has '
                f'features of shape {tuple(m.shape)}'
            )


def check_images(student: Tensor, teacher: Tensor, loss: str) -> None:
    """Raise ValueError unless both are maps of the same number of images."""
    check_maps([student], 'student', loss)
    check_maps([teacher], 'teacher', loss)
    if len(student) != len(teacher):
        raise ValueError(
            f'{loss}: maps must be of the same images, got '
            f'{tuple(student.shape)} of the student and '
            f'{tuple(teacher.shape)} of the teacher'
        )


def pair_levels(
    student: Features, teacher: Features, levels: Sequence[int], loss: str
) -> List[Tuple[Tensor, Tensor]]:
    """Maps of student and teacher, level by level.

    Raises:
        ValueError: If one of them has no such level, or no maps.
    """
    first = choose(student.stages, levels, 'the student')
    second = choose(teacher.stages, levels, 'the teacher')
    check_maps(first, 'student', loss)
    check_maps(second, 'teacher', loss)
    return list(zip(first, second))


def check_sizes(
    pairs: Sequence[Tuple[Tensor, Tensor]], levels: Sequence[int], loss: str
) -> None:
    """Raise ValueError unless the maps of each level are of one size."""
    for level, (s, t) in zip(levels, pairs):
        if s.shape[2:] != t.shape[2:]:
            raise ValueError(
                f'{loss}: level {level} is {tuple(s.shape[2:])} of the '
                f'student and {tuple(t.shape[2:])} of the teacher'
            )


def align(student: Tensor, teacher: Tensor) -> nn.Module:
    """A 1 x 1 convolution to the teacher's channels, if they differ.

    Args:
        student (Tensor): Shape (B, C, H, W).
        teacher (Tensor): Shape (B, C', H', W').
    """
    inputs, outputs = student.shape[1], teacher.shape[1]
    if inputs == outputs:
        return nn.Identity()
    return nn.Conv2d(inputs, outputs, 1)


def pooled(features: Features, who: str, loss: str) -> Tensor:
    """The pooled features of a network, shape (B, D).

    Raises:
        ValueError: If it has none.
    """
    if features.pooled is None:
        raise ValueError(
            f'{loss} compares pooled features, which the {who} does not have: '
            'they are of the networks of this package as backbones of '
            'classifiers'
        )
    return features.pooled
