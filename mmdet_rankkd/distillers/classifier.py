"""Distillation of image classifiers."""

from typing import Any, Optional

from mmdet_rankkd.registry import MODELS

from .base import BaseDistiller


@MODELS.register_module()
class DistillClassifier(BaseDistiller):
    """Distil an image classifier of this package or of MMPretrain.

    Example of a config::

        _base_ = 'my_student.py'
        model = dict(
            _delete_=True,
            type='mmdet_rankkd.DistillClassifier',
            student=_base_.model,
            teacher=dict(config='my_teacher.py', checkpoint='teacher.pth'),
            losses=[
                dict(type='mmdet_rankkd.KLDivLoss', temperature=4),
                dict(type='mmdet_rankkd.KendallRankLoss'),
            ])

    Where the data have a second, strongly augmented view of each image
    (``strong_inputs``; see ``TwoViews``), the student's own losses are the
    sum over both views, and each distillation loss takes the views that it
    is told to.

    Args:
        logits (dict, optional): The logit hook, ``ClsLogits`` by default.
        **kwargs (Any): Those of :class:`BaseDistiller`.
    """

    def __init__(self, logits: Optional[dict] = None, **kwargs: Any) -> None:
        logits = logits or dict(type='mmdet_rankkd.ClsLogits')
        super().__init__(logits=logits, **kwargs)
