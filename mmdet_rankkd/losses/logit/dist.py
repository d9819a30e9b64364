"""Knowledge distillation from a stronger teacher (DIST)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mmdet_rankkd.registry import MODELS

from ..base import without_autocast
from .base import BatchLoss, prepare_pair


def pearson_distance(x: Tensor, y: Tensor, eps: float = 1e-8) -> Tensor:
    r"""One minus Pearson's correlation over the last dimension, in [0, 2].

    With x and y centred, :math:`1 - x \cdot y / (|x| |y| + \epsilon)`: a
    constant row correlates with nothing, which gives 1.

    Args:
        x (Tensor): Shape (..., C).
        y (Tensor): Shape (..., C).
        eps (float): Added to the product of the two norms.
    """
    x, y = _centre(x), _centre(y)
    return 1 - (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1) + eps)


def _centre(x: Tensor) -> Tensor:
    # The first entry goes first, so that equal ones become zero exactly: what
    # rounding left of them would be of the size of the epsilon.
    x = x - x[..., :1]
    return x - x.mean(-1, keepdim=True)


@without_autocast
def dist_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    r"""Correlation of predictions over classes and over the batch.

    With :math:`p = \mathrm{softmax}(z / \tau)` and Pearson's
    correlation :math:`\rho`,

    .. math::
        L = \tau^2 \Big[\frac{\beta}{N} \sum_n
            (1 - \rho(p^s_{n,:}, p^t_{n,:})) + \frac{\gamma}{C} \sum_c
            (1 - \rho(p^s_{:,c}, p^t_{:,c}))\Big]

    (Huang et al., *Knowledge Distillation from A Stronger Teacher*, NeurIPS
    2022, Eq. 7 to 9). The second term compares rows with each other: they
    must be samples of one kind, such as images of a batch. As in the published
    code, 1e-8 is added to the product of the norms: a row of equal logits
    (a zero-initialised head) gives 1. The gradient by such a row of the
    student's is of the order of 1e8 / (N C), unless the teacher's is one too;
    small batches of float16 logits cannot hold it.

    Args:
        student (Tensor): Logits, shape (N, C).
        teacher (Tensor): Logits, shape (N, C); detached.
        beta (float): Weight of the relation between classes.
        gamma (float): Weight of the relation within classes; its term is
            1 for a single row, so that it needs N > 1.
        temperature (float): tau > 0.

    Returns:
        Tensor: A scalar in [0, 2 (beta + gamma) tau^2]; float32 for
        half-precision input. Zero, attached to the graph, for N = 0.

    Raises:
        ValueError: If shapes differ or a setting is out of range.
    """
    _check(beta, gamma, temperature)
    student, teacher = prepare_pair(student, teacher)
    if not len(student):
        return student.sum()
    p = F.softmax(student / temperature, 1)
    q = F.softmax(teacher / temperature, 1)
    inter = pearson_distance(p, q).mean()
    intra = pearson_distance(p.t(), q.t()).mean()
    return temperature**2 * (beta * inter + gamma * intra)


def _check(beta: float, gamma: float, temperature: float) -> None:
    if beta < 0 or gamma < 0 or not temperature > 0:
        raise ValueError(
            'beta and gamma must be at least 0 and temperature positive, got '
            f'{beta}, {gamma} and {temperature}'
        )


@MODELS.register_module()
class DISTLoss(BatchLoss):
    """Registered form of :func:`dist_loss`.

    Args:
        beta (float): Weight of the relation between classes.
        gamma (float): Weight of the relation within classes.
        temperature (float): tau > 0.
        **kwargs (Any): ``loss_weight``, ``loss_name`` and ``schedule`` of
            :class:`BatchLoss`.
    """

    loss_name = 'loss_dist'
    refusal = (
        'it is for classification, not for RoI logits, since sampled boxes '
        'of few images are no independent samples. Use KLDivLoss or '
        'KendallRankLoss there.'
    )

    def __init__(
        self,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check(beta, gamma, temperature)
        self.settings = dict(beta=beta, gamma=gamma, temperature=temperature)

    def batch(self, student: Tensor, teacher: Tensor, **views: Any) -> Tensor:
        """See :func:`dist_loss`."""
        return dist_loss(student, teacher, **self.settings)
