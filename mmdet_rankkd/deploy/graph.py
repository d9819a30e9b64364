"""Students as graphs that can be traced: images in, boxes or logits out."""

from typing import Dict, List, Tuple, Union

import torch
from mmdet.models.dense_heads import GFLHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmdet_rankkd.models import ImageClassifier

DENSE = (
    'Those with a dense head that is decoded as MMDetection decodes most of '
    'them (RetinaNet, FCOS, ATSS, GFL, RTMDet and kin), and the classifiers '
    'of this package, can be'
)


class DenseGraph(nn.Module):
    """A dense detector up to its boxes, before any is left out.

    Args:
        detector (SingleStageDetector): Detector in eval mode.
    """

    names = ('boxes', 'scores', 'levels', 'factors')
    input_axes = {2: 'height', 3: 'width'}
    output_axes = {0: 'locations'}

    def __init__(self, detector: SingleStageDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Boxes and scores of every location of one image.

        Args:
            images (Tensor): Shape (1, 3, H, W), as the data preprocessor
                gives them.

        Returns:
            tuple[Tensor]: Boxes (P, 4) in pixels of the input, neither
            clipped nor scaled; class probabilities (P, C); level of the
            pyramid (P,), int64; and, of heads with centerness or the like,
            its probability (P,).
        """
        head = self.detector.bbox_head
        logits, deltas, *more = head(self.detector.extract_feat(images))
        priors = head.prior_generator.grid_priors(
            [x.shape[-2:] for x in logits], images.dtype, images.device
        )
        boxes, scores, levels = [], [], []
        for level, each in enumerate(zip(logits, deltas, priors)):
            boxes.append(self.decode(level, each[1], each[2]))
            rows = flatten(each[0], head.cls_out_channels)
            if head.use_sigmoid_cls:
                scores.append(rows.sigmoid())
            else:
                scores.append(rows.softmax(-1)[:, :-1])
            levels.append(
                torch.full_like(rows[:, 0], level, dtype=torch.int64)
            )
        found: List[List[Tensor]] = [boxes, scores, levels]
        if more:
            found.append([flatten(x, 1)[:, 0].sigmoid() for x in more[0]])
        return tuple(torch.cat(x) for x in found)

    def decode(self, level: int, deltas: Tensor, priors: Tensor) -> Tensor:
        """Boxes (P, 4) of one level."""
        head = self.detector.bbox_head
        if not is_gfl(head):
            size = head.bbox_coder.encode_size
            return head.bbox_coder.decode(priors, flatten(deltas, size))
        bins = flatten(deltas, 4 * (head.reg_max + 1))
        distances = (
            head.integral(bins) * head.prior_generator.strides[level][0]
        )
        return head.bbox_coder.decode(head.anchor_center(priors), distances)

    def rules(self) -> Dict[str, object]:
        """How detections are chosen, for :func:`runtime.select`.

        Raises:
            TypeError: If it is done in a way that is not covered.
        """
        head = self.detector.bbox_head
        config = head.test_cfg
        nms = dict(config.nms)
        extra = set(nms) - {'type', 'iou_threshold', 'class_agnostic'}
        if nms.get('type') != 'nms' or extra - {'split_thr'}:
            raise TypeError(
                f'the test_cfg of the student has nms={nms}, and only '
                "dict(type='nms', iou_threshold=...) is covered"
            )
        return dict(
            score_thr=config.get('score_thr', 0),
            nms_pre=config.get('nms_pre', -1),
            clip=bool(head.bbox_coder.clip_border),
            min_bbox_size=config.get('min_bbox_size', -1),
            iou_threshold=nms['iou_threshold'],
            class_agnostic=bool(nms.get('class_agnostic', False)),
            max_per_img=config.max_per_img,
        )


class ClassifierGraph(nn.Module):
    """An image classifier up to its logits.

    Args:
        classifier (ImageClassifier): Classifier in eval mode.
    """

    names = ('logits',)
    input_axes = {0: 'batch'}
    output_axes = {0: 'batch'}

    def __init__(self, classifier: ImageClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Logits (B, C) of preprocessed images (B, 3, H, W)."""
        return (self.classifier(images, mode='tensor'),)


Graph = Union[DenseGraph, ClassifierGraph]


def graph_of(model: BaseModel) -> Graph:
    """The graph of a student.

    Raises:
        TypeError: If there is none for it.
    """
    name = type(model).__name__
    if isinstance(model, ImageClassifier):
        return ClassifierGraph(model)
    if getattr(model, 'roi_head', None) is not None:
        raise TypeError(
            f'{name} is a two-stage detector, and no ONNX file is written of '
            f'those. {DENSE}'
        )
    if not isinstance(model, SingleStageDetector) or (
        type(model).predict is not SingleStageDetector.predict
    ):
        raise TypeError(f'no ONNX file is written of a {name}. {DENSE}')
    head = model.bbox_head
    kind = type(head)
    usual = (
        isinstance(head, BaseDenseHead)
        and kind.predict is BaseDenseHead.predict
        and kind.predict_by_feat is BaseDenseHead.predict_by_feat
        and kind._bbox_post_process is BaseDenseHead._bbox_post_process
    )
    single = getattr(kind, '_predict_by_feat_single', None)
    usual = usual and (
        is_gfl(head) or single is BaseDenseHead._predict_by_feat_single
    )
    if not usual or getattr(head.loss_cls, 'custom_cls_channels', False):
        raise TypeError(
            f'a {kind.__name__} decodes its boxes in its own way, and no ONNX '
            f'file is written of it. {DENSE}'
        )
    return DenseGraph(model)


def is_gfl(head: nn.Module) -> bool:
    """Whether boxes are means of distributions, as GFL's."""
    single = getattr(type(head), '_predict_by_feat_single', None)
    return single is GFLHead._predict_by_feat_single


def flatten(values: Tensor, columns: int) -> Tensor:
    """From (1, A * columns, H, W) to rows of locations and their anchors."""
    return values.permute(0, 2, 3, 1).reshape(-1, columns)
