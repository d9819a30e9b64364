"""Rank alignment of students with their teacher: the paper's Figure 7."""

from typing import Dict, Tuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from torch import Tensor


def validation_images(config: Config) -> Tensor:
    """Raw images of a config's validation set, of shape (N, 3, H, W)."""
    data = DATASETS.build(config.val_dataloader.dataset)
    return torch.stack([data[i]['inputs'] for i in range(len(data))])


@torch.no_grad()
def logits_of(model: BaseModel, images: Tensor) -> Tensor:
    """Logits (N, C) of raw images, as the model's preprocessor shows them."""
    parts = []
    for part in images.split(200):
        data = model.data_preprocessor(dict(inputs=part))
        parts.append(model(data['inputs'], mode='tensor'))
    return torch.cat(parts)


def ranks(logits: Tensor) -> Tensor:
    """Rank of each class in its row, 0 for the highest logit."""
    return logits.argsort(1, descending=True).argsort(1)


def alignment(student: Tensor, teacher: Tensor) -> np.ndarray:
    """How often the student gives rank y to the teacher's class of rank x.

    Args:
        student (Tensor): Logits of shape (N, C).
        teacher (Tensor): Logits of shape (N, C).

    Returns:
        ndarray: Shape (C, C), row y, column x; each column sums to 1.
    """
    count = student.shape[1]
    index = ranks(student) * count + ranks(teacher)
    table = torch.bincount(index.flatten(), minlength=count * count)
    table = table.view(count, count).double()
    return (table / table.sum(0)).numpy()


def draw_alignment(found: Dict[str, Tuple[np.ndarray, str]]) -> Figure:
    """One square a row of the table.

    Args:
        found (dict): Its alignment, the mean over seeds, and its tau.
    """
    figure, axes = plt.subplots(
        1, len(found), figsize=(4.2 * len(found), 4.4), squeeze=False
    )
    for axis, (name, (table, tau)) in zip(axes[0], found.items()):
        image = axis.imshow(
            np.sqrt(table), cmap='magma', vmin=0, vmax=0.5, origin='lower'
        )
        axis.set_title(f'{name}\ntau {tau}', fontsize=11)
        axis.set_xlabel("rank in the teacher's logits")
    axes[0][0].set_ylabel("rank in the student's logits")
    bar = figure.colorbar(image, ax=axes[0].tolist(), shrink=0.75)
    bar.set_ticks([0, 0.1**0.5, 0.25**0.5])
    bar.set_ticklabels(['0', '10 %', '25 %'])
    bar.set_label('share of the images')
    return figure
