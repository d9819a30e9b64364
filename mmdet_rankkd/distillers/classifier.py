"""Distillation of image classifiers."""

from typing import Any, Optional

from torch import Tensor

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
        logits (dict, optional): Their recorder, ``ClsLogits`` by default.
        **kwargs (Any): Those of :class:`BaseDistiller`.
    """

    def __init__(self, logits: Optional[dict] = None, **kwargs: Any) -> None:
        logits = logits or dict(type='mmdet_rankkd.ClsLogits')
        super().__init__(logits=logits, **kwargs)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Optional[list] = None,
        mode: str = 'tensor',
        teacher_inputs: Optional[Tensor] = None,
        strong: Optional[dict] = None,
    ) -> Any:
        """As :meth:`BaseDistiller.forward`, maybe of two views.

        Args:
            inputs (Tensor): As there.
            data_samples (list, optional): As there.
            mode (str): As there.
            teacher_inputs (Tensor, optional): As there.
            strong (dict, optional): ``inputs`` and ``teacher_inputs`` of the
                second view.
        """
        if mode != 'loss' or strong is None:
            return super().forward(inputs, data_samples, mode, teacher_inputs)
        losses, batch = self.compare(inputs, data_samples, teacher_inputs)
        more, other = self.compare(
            strong['inputs'], data_samples, strong.get('teacher_inputs')
        )
        for name in more:
            if 'loss' in name:
                losses[name] = losses[name] + more[name]
        if batch and other:
            batch.strong = other.logits
        return self.add_losses(losses, batch)
