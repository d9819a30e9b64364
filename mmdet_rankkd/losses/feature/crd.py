"""CRD: contrastive representation distillation."""

import math
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, get_world_size
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import DistillBatch, Features

from ..base import without_autocast
from .base import FeatureLoss, pooled

EPS = 1e-7


@without_autocast
def crd_side(scores: Tensor, count: int) -> Tensor:
    r"""Contrastive loss of one side, the student's or the teacher's.

    With :math:`P_n = 1 / N` and m = K negatives,

    .. math::
        L = -\frac{1}{B} \sum_b \Big[
            \log\frac{P_+}{P_+ + m P_n + \epsilon} +
            \sum_{-} \log\frac{m P_n}{P_- + m P_n + \epsilon} \Big]

    (Tian et al., *Contrastive Representation Distillation*, ICLR 2020).

    Args:
        scores (Tensor): P, shape (B, 1 + K), the positive first.
        count (int): N, images of the data set.

    Returns:
        Tensor: A scalar, at least 0.
    """
    noise = (scores.shape[1] - 1) / count
    positive = scores[:, 0] / (scores[:, 0] + noise + EPS)
    negative = noise / (scores[:, 1:] + noise + EPS)
    return -(positive.log().sum() + negative.log().sum()) / len(scores)


class Embedding(nn.Module):
    """A linear layer to the unit sphere.

    Args:
        inputs (int): Width of the features.
        width (int): Width of the embedding.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (B, D) to (B, width)."""
        return F.normalize(self.linear(x), dim=1)


@MODELS.register_module()
class CRDLoss(FeatureLoss):
    """Contrast of the pooled features with a memory of the other network.

    The embedding of the student is compared with the teacher's memory of the
    same image and of K others, and that of the teacher with the student's:
    ``exp(<e, memory> / temperature) / Z`` enters :func:`crd_side`, with Z
    from the first batch: the mean times N. Then the memories of the images
    of the batch move to their new embeddings. Both embeddings are trained.

    The training set must be a :class:`ContrastDataset`. Memories and Z are
    in the checkpoint (``2 * N * width`` floats), so that a resumed training
    goes on with them; over several processes they are kept equal. The whole
    is in float32, also under autocast.

    Args:
        num_data (int): N, images of the training set.
        width (int): Width of the embedding.
        temperature (float): Divisor of the products, positive.
        momentum (float): Part of the old memory in the new, in [0, 1).
        loss_weight (float): 0.8 in the reference.
        **kwargs (Any): ``loss_name`` and ``schedule`` of
            :class:`DistillLoss`.

    Raises:
        ValueError: If a setting is out of its range.
    """

    loss_name = 'loss_crd'
    student_memory: Tensor
    teacher_memory: Tensor
    norms: Tensor
    embed_student: Embedding
    embed_teacher: Embedding

    def __init__(
        self,
        num_data: int,
        width: int = 128,
        temperature: float = 0.07,
        momentum: float = 0.5,
        loss_weight: float = 0.8,
        **kwargs: Any,
    ) -> None:
        super().__init__(loss_weight=loss_weight, **kwargs)
        if num_data < 2 or width < 1 or not temperature > 0:
            raise ValueError(
                'CRDLoss needs num_data >= 2, width >= 1 and a positive '
                f'temperature, got {num_data}, {width} and {temperature}'
            )
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum must be in [0, 1), got {momentum}')
        self.num_data = num_data
        self.width = width
        self.temperature = temperature
        self.momentum = momentum
        bound = 1 / math.sqrt(width / 3)
        for name in ('student_memory', 'teacher_memory'):
            memory = torch.rand(num_data, width) * 2 * bound - bound
            self.register_buffer(name, memory)
        # Z of student and teacher; zero as long as there was no batch.
        self.register_buffer('norms', torch.zeros(2))

    def build(self, student: Features, teacher: Features) -> None:
        """One embedding for each network.

        Raises:
            ValueError: If one of them has no pooled features.
        """
        widths = [
            pooled(features, who, 'CRDLoss').shape[1]
            for who, features in (('student', student), ('teacher', teacher))
        ]
        self.embed_student = Embedding(widths[0], self.width)
        self.embed_teacher = Embedding(widths[1], self.width)

    def distill(self, batch: DistillBatch) -> Tensor:
        """Weighted loss of a batch whose samples have ``contrast_index``."""
        index = [s.get('contrast_index') for s in batch.data_samples]
        known = [x for x in index if x is not None]
        contrast = None
        if index and len(known) == len(index):
            contrast = torch.stack(known)
        layers = batch.layers(type(self).__name__)
        return self(*layers, contrast=contrast)

    def forward(
        self,
        student: Features,
        teacher: Features,
        contrast: Optional[Tensor] = None,
    ) -> Tensor:
        """Weighted loss of features.

        Args:
            student (Features): Features of the student.
            teacher (Features): Features of the teacher.
            contrast (Tensor, optional): Numbers of the images and of their
                negatives, shape (B, 1 + K).

        Raises:
            ValueError: If ``contrast`` is missing or out of the memories.
        """
        if contrast is None:
            raise ValueError(
                'CRDLoss needs the numbers of other images: make the '
                "training set dict(type='mmdet_rankkd.ContrastDataset', "
                'dataset=...)'
            )
        if int(contrast.max()) >= self.num_data:
            raise ValueError(
                f'CRDLoss has memories for num_data={self.num_data} images, '
                f'but the data have number {int(contrast.max())}; set '
                'num_data to the length of the training set'
            )
        with torch.autocast(contrast.device.type, enabled=False):
            loss = self._contrast(
                pooled(student, 'student', 'CRDLoss'),
                pooled(teacher, 'teacher', 'CRDLoss'),
                contrast,
            )
        return self.current_weight * loss

    def _contrast(self, s: Tensor, t: Tensor, contrast: Tensor) -> Tensor:
        dtype = self.embed_student.linear.weight.dtype
        student = self.embed_student(s.to(dtype))
        teacher = self.embed_teacher(t.detach().to(dtype))
        contrast = contrast.long()
        scores = [
            # All products at once: less memory than the rows of each image.
            (e @ memory.t()).gather(1, contrast).div(self.temperature).exp()
            for e, memory in (
                (student, self.teacher_memory.clone()),
                (teacher, self.student_memory.clone()),
            )
        ]
        if not self.norms.all():
            means = torch.stack([x.detach().mean() for x in scores])
            all_reduce(means, 'mean')
            self.norms.copy_(means * self.num_data)
        self._remember(student.detach(), teacher.detach(), contrast[:, 0])
        sides = [
            crd_side(x / z, self.num_data) for x, z in zip(scores, self.norms)
        ]
        return sides[0] + sides[1]

    @torch.no_grad()
    def _remember(
        self, student: Tensor, teacher: Tensor, index: Tensor
    ) -> None:
        if get_world_size() > 1:
            student, teacher, index = (
                torch.cat(all_gather(x)) for x in (student, teacher, index)
            )
        for memory, new in (
            (self.student_memory, student),
            (self.teacher_memory, teacher),
        ):
            old = memory[index]
            mixed = self.momentum * old + (1 - self.momentum) * new
            memory[index] = F.normalize(mixed, dim=1)
