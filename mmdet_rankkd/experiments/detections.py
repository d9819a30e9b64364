"""Detections of teacher and students on the same images of the digits set."""

import json
from pathlib import Path
from typing import Dict, Optional, Sequence

import cv2
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from mmcv.ops import nms
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from mmdet_rankkd.datasets.digits import CLASSES, path_inside


@torch.no_grad()
def detect(model: BaseModel, image: np.ndarray) -> InstanceData:
    """Detections of one BGR image of the network's own size."""
    sample = DetDataSample(
        metainfo=dict(
            img_shape=image.shape[:2],
            ori_shape=image.shape[:2],
            scale_factor=(1.0, 1.0),
        )
    )
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
    data = dict(inputs=[pixels], data_samples=[sample])
    return model.test_step(data)[0].pred_instances


def draw_boxes(
    axis: plt.Axes,
    image: np.ndarray,
    boxes: Sequence[Sequence[float]],
    labels: Sequence[str],
    truth: Optional[Sequence[str]] = None,
) -> None:
    """An image with boxes; wrong classes are dashed."""
    axis.imshow(image[:, :, ::-1], interpolation='nearest')
    for (x1, y1, x2, y2), label in zip(boxes, labels):
        right = truth is None or label.rsplit(' ', 1)[0] in truth
        axis.add_patch(
            plt.Rectangle(
                (x1, y1),
                x2 - x1,
                y2 - y1,
                fill=False,
                lw=1.3,
                ec='white' if right else '#ffb000',
                ls='-' if right else '--',
            )
        )
        axis.text(
            x1,
            y1 - 1.5,
            label,
            fontsize=6.5,
            color='white',
            bbox=dict(facecolor='black', alpha=0.6, pad=0.8, lw=0),
        )
    axis.set_xticks([])
    axis.set_yticks([])


def draw_detections(
    models: Dict[str, BaseModel],
    root: Path,
    threshold: float,
    count: int = 4,
) -> Figure:
    """The same validation images by every model, the truth at the left.

    Args:
        models (dict): Detectors by the names of their columns.
        root (Path): The digits set.
        threshold (float): Scores that are shown are above it.
        count (int): Images.
    """
    content = json.loads((root / 'val.json').read_text())
    names = ['ground truth', *models]
    figure, axes = plt.subplots(
        count,
        len(names),
        figsize=(2.6 * len(names), 2.6 * count),
        squeeze=False,
    )
    for axis, name in zip(axes[0], names):
        axis.set_title(name, fontsize=10)
    for row, info in zip(axes, content['images']):
        image = cv2.imread(str(path_inside(root / 'val', info['file_name'])))
        objects = [
            a for a in content['annotations'] if a['image_id'] == info['id']
        ]
        truth = [CLASSES[a['category_id'] - 1] for a in objects]
        corners = [
            (x, y, x + w, y + h) for x, y, w, h in (a['bbox'] for a in objects)
        ]
        draw_boxes(row[0], image, corners, truth)
        for axis, model in zip(row[1:], models.values()):
            found = detect(model, image)
            found = found[found.scores > threshold]
            # Dense heads give several classes at one place.
            _, keep = nms(found.bboxes, found.scores, iou_threshold=0.5)
            found = found[keep]
            labels = [
                f'{CLASSES[label]} {score:.2f}'.replace('0.', '.')
                for label, score in zip(
                    found.labels.tolist(), found.scores.tolist()
                )
            ]
            draw_boxes(axis, image, found.bboxes.tolist(), labels, truth)
    figure.tight_layout()
    return figure
