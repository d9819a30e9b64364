"""Data sample of an image that is classified."""

from typing import Union

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor


class ClsDataSample(BaseDataElement):
    """Label and prediction of an image.

    Names are those of ``mmpretrain.structures.DataSample``, so that its heads
    can fill it: ``gt_label`` (long, shape (1,)), ``pred_score`` (C,) and
    ``pred_label`` (1,).
    """

    def set_gt_label(self, label: int) -> 'ClsDataSample':
        """Set the true class."""
        self.set_field(torch.tensor([label]), 'gt_label')
        return self

    def set_pred_score(self, score: Tensor) -> 'ClsDataSample':
        """Set the score of each class."""
        self.set_field(score, 'pred_score')
        return self

    def set_pred_label(self, label: Union[int, Tensor]) -> 'ClsDataSample':
        """Set the predicted class."""
        self.set_field(torch.as_tensor(label).view(1), 'pred_label')
        return self
