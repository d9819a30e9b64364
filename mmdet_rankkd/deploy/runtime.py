"""Detect with an ONNX file of `rankkd export --onnx`.

    python runtime.py student.onnx IMAGE...

This file needs NumPy, OpenCV and ONNX Runtime, and nothing else: no torch, no
MMDetection, nothing of this package. It may be copied beside the model.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np
import onnxruntime

#: Name, in the ONNX file, under which the settings stand as JSON.
KEY = 'mmdet_rankkd'


@dataclass(frozen=True)
class Prepared:
    """An image as the network takes it.

    Attributes:
        images (ndarray): Shape (1, 3, H, W), float32, normalised and padded.
        shape (tuple[int, int]): Height and width that boxes are clipped to.
        scale (tuple[float, float]): Width and height, in pixels of the
            network's input, of a pixel of the image.
    """

    images: np.ndarray
    shape: Tuple[int, int]
    scale: Tuple[float, float]


@dataclass(frozen=True)
class Detections:
    """What was found in an image, highest score first.

    Attributes:
        boxes (ndarray): Shape (N, 4), float32, x1, y1, x2, y2 in pixels of
            the image.
        scores (ndarray): Shape (N,), float32, in (0, 1].
        labels (ndarray): Shape (N,), int64, places in the list of classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Detector:
    """A detector in an ONNX file.

    Args:
        path (str): The file.
        threads (int, optional): Threads of ONNX Runtime; its own choice by
            default.

    Attributes:
        classes (list[str]): Names of the labels.
        settings (dict): What was stored with the network.

    Raises:
        ValueError: If the file is not of `rankkd export --onnx`, or is not of
            a detector.
    """

    def __init__(self, path: str, threads: Optional[int] = None) -> None:
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            path, options, providers=['CPUExecutionProvider']
        )
        stored = self.session.get_modelmeta().custom_metadata_map.get(KEY)
        if stored is None:
            raise ValueError(f'{path} was not written by rankkd export')
        self.settings: Dict[str, Any] = json.loads(stored)
        if self.settings['task'] != 'detection':
            raise ValueError(f'{path} is no detector')
        self.classes: List[str] = self.settings['classes']

    def __call__(self, image: np.ndarray) -> Detections:
        """Find objects in an image.

        Args:
            image (ndarray): Shape (H, W, 3), uint8, blue, green, red, as
                ``cv2.imread`` gives it.
        """
        prepared = prepare(image, self.settings)
        names = [x.name for x in self.session.get_outputs()]
        values = self.session.run(names, {'images': prepared.images})
        return select(dict(zip(names, values)), self.settings, prepared)


def prepare(image: np.ndarray, settings: Dict[str, Any]) -> Prepared:
    """Resize, pad and normalise an image.

    Args:
        image (ndarray): Shape (H, W, 3), uint8, blue, green, red.
        settings (dict): Those of the file; ``resize`` (``scale`` as width and
            height, ``keep_ratio``), ``pad`` (``size`` as width and height,
            ``value``), each of which may be None, ``normalise`` (``mean`` and
            ``std`` in the order of the channels, ``rgb``), ``divisor`` and
            ``pad_value``.
    """
    height, width = image.shape[:2]
    scale = (1.0, 1.0)
    if settings['resize'] is not None:
        size = new_size(width, height, **settings['resize'])
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        scale = (size[0] / width, size[1] / height)
    if settings['pad'] is not None:
        right, bottom = settings['pad']['size']
        image = fill(image, bottom, right, settings['pad']['value'])
    shape = (image.shape[0], image.shape[1])
    normalise = settings['normalise']
    if normalise['rgb']:
        image = image[..., ::-1]
    pixels = image.astype(np.float32)
    if normalise['mean'] is not None:
        mean, std = (
            np.array(normalise[x], np.float32) for x in ('mean', 'std')
        )
        pixels = (pixels - mean) / std
    bottom, right = (-(-x // settings['divisor']) for x in shape)
    pixels = fill(
        pixels,
        bottom * settings['divisor'],
        right * settings['divisor'],
        settings['pad_value'],
    )
    images = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    return Prepared(images, shape, scale)


def new_size(
    width: int, height: int, scale: Sequence[int], keep_ratio: bool
) -> Tuple[int, int]:
    """Width and height of an image after it is resized, as MMCV rounds."""
    if not keep_ratio:
        return scale[0], scale[1]
    factor = min(
        max(scale) / max(width, height), min(scale) / min(width, height)
    )
    return int(width * factor + 0.5), int(height * factor + 0.5)


def fill(image: np.ndarray, height: int, width: int, value: Any) -> np.ndarray:
    """Fill an image up at its right and bottom, if it is smaller."""
    height, width = max(height, image.shape[0]), max(width, image.shape[1])
    filled = np.empty((height, width, 3), image.dtype)
    filled[:] = value
    filled[: image.shape[0], : image.shape[1]] = image
    return filled


def select(
    outputs: Dict[str, np.ndarray],
    settings: Dict[str, Any],
    prepared: Prepared,
) -> Detections:
    """Choose detections among all locations, as MMDetection does.

    Args:
        outputs (dict): Outputs of the network for one image: ``boxes`` (P, 4)
            in pixels of its input, ``scores`` (P, C), ``levels`` (P,) of the
            pyramid, and, of some heads, ``factors`` (P,), by which scores are
            multiplied after the highest of a level were chosen.
        settings (dict): ``select`` of them: ``score_thr``, ``nms_pre`` (the
            highest of each level), ``clip``, ``min_bbox_size``,
            ``iou_threshold``, ``class_agnostic`` and ``max_per_img``.
        prepared (Prepared): The image.
    """
    rules = settings['select']
    rows, labels = highest_scores(outputs['scores'], outputs['levels'], rules)
    boxes = outputs['boxes'][rows]
    scores = outputs['scores'][rows, labels]
    if rules['clip']:
        height, width = prepared.shape
        boxes = boxes.clip(0, sides(width, height))
    boxes = boxes * (1 / sides(*prepared.scale))
    if 'factors' in outputs:
        scores = scores * outputs['factors'][rows]
    if rules['min_bbox_size'] >= 0:
        large = (boxes[:, 2:] - boxes[:, :2]).min(1) > rules['min_bbox_size']
        boxes, scores, labels = boxes[large], scores[large], labels[large]
    kept = suppress(
        boxes if rules['class_agnostic'] else apart(boxes, labels),
        scores,
        rules['iou_threshold'],
    )[: rules['max_per_img']]
    return Detections(boxes[kept], scores[kept], labels[kept])


def sides(width: float, height: float) -> np.ndarray:
    """One number for each side of a box."""
    return np.array([width, height, width, height], np.float32)


def highest_scores(
    scores: np.ndarray, levels: np.ndarray, rules: Dict[str, Any]
) -> Tuple[np.ndarray, np.ndarray]:
    """Rows and classes of the highest scores of each level."""
    rows, labels = [], []
    for level in np.unique(levels):
        here = np.flatnonzero(levels == level)
        row, label = np.nonzero(scores[here] > rules['score_thr'])
        order = np.argsort(-scores[here[row], label], kind='stable')
        order = order[: min(rules['nms_pre'], len(order))]
        rows.append(here[row[order]])
        labels.append(label[order])
    return np.concatenate(rows), np.concatenate(labels)


def apart(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Move boxes of different classes apart, so that none overlap."""
    if not len(boxes):
        return boxes
    step = boxes.max() + np.float32(1)
    return boxes + (labels.astype(np.float32) * step)[:, None]


def suppress(
    boxes: np.ndarray, scores: np.ndarray, threshold: float
) -> np.ndarray:
    """Places of boxes that none of a higher score overlaps, highest first."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    order = np.argsort(-scores, kind='stable')
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (high - low).clip(0).prod(1)
        union = areas[best] + areas[order] - shared
        # As MMCV compares, so that boxes of no area are kept.
        order = order[~(shared / np.maximum(union, 1e-12) > threshold)]
    return np.array(kept, int)


def main() -> None:
    """Print what is in images, one line of JSON each."""
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    detector = Detector(sys.argv[1])
    for path in sys.argv[2:]:
        image = cv2.imread(path)
        if image is None:
            raise SystemExit(f'{path} is no image that can be read')
        found = detector(image)
        names = [detector.classes[x] for x in found.labels]
        each = zip(names, found.scores.tolist(), found.boxes.tolist())
        print(json.dumps(dict(image=path, found=list(each))))


if __name__ == '__main__':
    main()
