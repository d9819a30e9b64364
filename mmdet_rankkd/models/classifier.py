"""A plain image classifier for MMEngine's Runner."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.model import BaseModel, BaseModule
from torch import Tensor, nn

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import ClsDataSample


@MODELS.register_module()
class LinearHead(BaseModule):
    """One linear layer, cross-entropy, softmax scores.

    Args:
        num_classes (int): Classes.
        in_channels (int): Width of the features.
        loss (dict, optional): Classification loss, called with logits and
            labels. Its ``loss_weight`` is the beta of the paper's Eq. 8.
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.fc = nn.Linear(in_channels, num_classes)
        self.loss_module = MODELS.build(
            loss or dict(type='mmdet.CrossEntropyLoss')
        )

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Logits (N, C) of the last features, pooled if they are maps."""
        x = feats[-1]
        return self.fc(x.mean((2, 3)) if x.dim() == 4 else x)

    def loss(
        self, feats: Sequence[Tensor], data_samples: Sequence[ClsDataSample]
    ) -> Dict[str, Tensor]:
        """``loss_cls``, and ``acc``: the top-1 accuracy in percent."""
        labels = torch.cat([s.gt_label for s in data_samples])
        return self.loss_of(self(feats), labels)

    def loss_of(self, logits: Tensor, labels: Tensor) -> Dict[str, Tensor]:
        """The losses of logits."""
        right = (logits.detach().argmax(1) == labels).float()
        return dict(
            loss_cls=self.loss_module(logits, labels), acc=100 * right.mean()
        )

    def predict(
        self,
        feats: Sequence[Tensor],
        data_samples: Optional[Sequence[ClsDataSample]] = None,
    ) -> List[ClsDataSample]:
        """Samples with ``pred_score`` and ``pred_label``."""
        scores = self.scores(feats)
        if data_samples is None:
            data_samples = [ClsDataSample() for _ in scores]
        for sample, score in zip(data_samples, scores):
            sample.set_pred_score(score).set_pred_label(score.argmax())
        return list(data_samples)

    def scores(self, feats: Sequence[Tensor]) -> Tensor:
        """Softmax of the logits, shape (N, C)."""
        return self(feats).softmax(1)


@MODELS.register_module()
class DistilledHead(LinearHead):
    """Head of a DeiT with a distillation token.

    Cross-entropy acts on the class token's layer ``fc``; the teacher on that
    of the distillation token, ``fc_dist``, to be named as the layer of the
    recorder. Prediction averages the two logits, as DeiT does. Both layers
    start at zero.

    Args:
        **kwargs (Any): Those of :class:`LinearHead`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fc_dist = nn.Linear(self.in_channels, self.num_classes)
        for layer in (self.fc, self.fc_dist):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Mean of the logits of both tokens."""
        cls, dist = feats
        return (self.fc(cls) + self.fc_dist(dist)) / 2

    def loss(
        self, feats: Sequence[Tensor], data_samples: Sequence[ClsDataSample]
    ) -> Dict[str, Tensor]:
        """Losses of the class token; the other layer runs for the recorder.

        It counts with a factor of zero, so that its parameters have a
        gradient where nothing distils: DistributedDataParallel waits for it.
        """
        labels = torch.cat([s.gt_label for s in data_samples])
        unused = self.fc_dist(feats[1])
        result = self.loss_of(self.fc(feats[0]), labels)
        result['loss_cls'] = result['loss_cls'] + 0 * unused.sum()
        return result


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """Backbone and head.

    Methods and their names are those of ``mmpretrain.ImageClassifier``.

    Args:
        backbone (dict): A network that returns a tuple of features.
        head (dict): A head such as :class:`LinearHead`. Where its config has
            no ``in_channels``, it is the backbone's ``out_channels``.
        data_preprocessor (dict, optional): As everywhere in MMEngine.
        init_cfg (dict, optional): As everywhere in MMEngine.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        head = dict(head)
        if hasattr(self.backbone, 'out_channels'):
            head.setdefault('in_channels', self.backbone.out_channels)
        self.head = MODELS.build(head)

    def extract_feat(self, inputs: Tensor) -> Tuple[Tensor, ...]:
        """Features of preprocessed images, shape (B, 3, H, W)."""
        return self.backbone(inputs)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Optional[list] = None,
        mode: str = 'tensor',
    ) -> Any:
        """Losses, predictions or logits.

        Args:
            inputs (Tensor): Preprocessed images, shape (B, 3, H, W).
            data_samples (list, optional): Labels; needed for the losses.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.

        Raises:
            ValueError: If the mode is none of these, or if there is no data
                sample to take a loss of.
        """
        if mode == 'loss':
            if data_samples is None:
                raise ValueError('mode "loss" needs data_samples with labels')
            return self.head.loss(self.extract_feat(inputs), data_samples)
        if mode == 'predict':
            return self.head.predict(self.extract_feat(inputs), data_samples)
        if mode == 'tensor':
            return self.head(self.extract_feat(inputs))
        raise ValueError(
            f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}"
        )
