"""Standardisation of logits over their classes."""

from typing import Tuple

from torch import Tensor


def standardize(
    logits: Tensor,
    eps: float = 1e-7,
    unbiased: bool = True,
    min_std: float = 1e-3,
) -> Tensor:
    """Zero mean and unit standard deviation over the classes (Algorithm 1).

    ``(z - mean) / (max(std, min_std) + eps)``. The paper has no floor: without
    it the gradient through a row of equal logits (a zero-initialised head) is
    of order 1 / eps. Rows with a spread above it are not touched by it.

    Args:
        logits (Tensor): Shape (..., C).
        eps (float): Added to the standard deviation.
        unbiased (bool): Divide the variance by C - 1 rather than C.
        min_std (float): Floor of the standard deviation, positive.

    Raises:
        ValueError: If ``min_std`` is not positive.
    """
    check_min_std(min_std)
    centred = logits - logits.mean(-1, keepdim=True)
    return centred / (spread(centred, unbiased, min_std)[0] + eps)


def standardize_pair(
    student: Tensor, teacher: Tensor, min_std: float
) -> Tuple[Tensor, Tensor]:
    """Both logits by :func:`standardize`, with its other defaults."""
    return (
        standardize(student, min_std=min_std),
        standardize(teacher, min_std=min_std),
    )


def check_min_std(min_std: float) -> None:
    """Raise ValueError unless the floor is positive."""
    if not min_std > 0:
        raise ValueError(f'min_std must be positive, got {min_std}')


def spread(
    centred: Tensor, unbiased: bool, min_std: float
) -> Tuple[Tensor, Tensor, int]:
    """Standard deviation, whether it is above the floor, and its divisor."""
    count = max(centred.shape[-1] - int(unbiased), 1)
    variance = centred.square().sum(-1, keepdim=True) / count
    std = variance.clamp(min=min_std**2).sqrt()
    return std, variance > min_std**2, count
