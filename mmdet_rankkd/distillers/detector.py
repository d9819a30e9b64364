"""Distillation of detectors."""

from mmdet_rankkd.compat import check_mmcv_ops
from mmdet_rankkd.registry import MODELS

from .base import BaseDistiller

check_mmcv_ops()


@MODELS.register_module()
class DistillDetector(BaseDistiller):
    """Distil a detector of MMDetection.

    Example of a config::

        _base_ = 'my_student.py'
        model = dict(
            _delete_=True,
            type='mmdet_rankkd.DistillDetector',
            student=_base_.model,
            teacher=dict(config='my_teacher.py', checkpoint='teacher.pth'),
            logits=dict(type='mmdet_rankkd.RoILogits'),
            losses=[
                dict(type='mmdet_rankkd.KLDivLoss'),
                dict(type='mmdet_rankkd.KendallRankLoss'),
            ])

    Dense detectors have ``DenseLogits`` as their logit hook, detectors with
    queries ``QueryLogits``. Arguments and rules are those of
    :class:`BaseDistiller`. Feature losses see the levels of the neck. What
    else a loss compares (``LDLoss`` distributions of boxes, ``CrossKDLoss``
    maps inside the heads, ``MaskKDLoss`` masks) is recorded when it asks.
    """

    FEATURES = dict(layer='neck', probe_size=128)
