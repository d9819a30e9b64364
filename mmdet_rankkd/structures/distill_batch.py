"""What a distiller hands to its losses in each step."""

from dataclasses import dataclass, field
from typing import List, Optional, Protocol, Tuple, TypeVar

from mmengine.structures import BaseDataElement
from torch import nn

from .box_pair import BoxPair
from .crossing import Crossing, HeadMaps
from .features import FeaturePair
from .logit_pair import LogitPair, NoGroundTruth

Found = TypeVar('Found')


@dataclass
class DistillBatch:
    """What student and teacher gave for the images of one step.

    Each loss takes what it compares; what is not there, it asks for with an
    error that says how to get it.

    Attributes:
        logits (LogitPair): Logits of the images, or of their first view.
        student_model (nn.Module): The student, for what is fixed about it,
            such as its anchors.
        data_samples (list): Ground truth and facts of each image, as the
            student was given them.
        features (FeaturePair, optional): Layers of the two networks, if a
            loss asked for them when it was built.
        boxes (BoxPair, optional): Distributions of the boxes, likewise.
        crossing (Crossing, optional): Maps inside the heads, likewise.
        masks (LogitPair, optional): Masks of boxes, likewise: a row a box, a
            column a pixel.
        strong (LogitPair, optional): Logits of a second view of each image.
    """

    logits: LogitPair
    student_model: nn.Module
    data_samples: List[BaseDataElement] = field(default_factory=list)
    features: Optional[FeaturePair] = None
    boxes: Optional[BoxPair] = None
    crossing: Optional[Crossing] = None
    masks: Optional[LogitPair] = None
    strong: Optional[LogitPair] = None

    def second_view(self, who: str) -> LogitPair:
        """Logits of the second view of each image.

        Args:
            who (str): The loss that asks.

        Raises:
            ValueError: If there is none.
        """
        if self.strong is None:
            raise ValueError(
                f'{who} needs a second, strong view of each image, which the '
                'data do not have. Make one with TwoViews in the training '
                'pipeline of a classifier; detectors have none.'
            )
        return self.strong

    def ground_truth(self, who: str) -> List[BaseDataElement]:
        """The data samples, with the objects of each image.

        Args:
            who (str): The loss that asks.

        Raises:
            NoGroundTruth: If the images have no annotations.
        """
        if not self.logits.labelled:
            raise NoGroundTruth(f'{who} needs the objects of each image')
        return self.data_samples

    def layers(self, who: str) -> FeaturePair:
        """Features of the two networks.

        Args:
            who (str): The loss that asks.

        Raises:
            ValueError: If there are none.
        """
        return recorded(self.features, who, 'the features')

    def distributions(self, who: str) -> BoxPair:
        """Distributions of the boxes of the two networks.

        Args:
            who (str): The loss that asks.

        Raises:
            ValueError: If there are none.
        """
        return recorded(self.boxes, who, 'the box distributions')

    def crossed(self, who: str) -> Crossing:
        """Maps inside the heads of the two networks.

        Args:
            who (str): The loss that asks.

        Raises:
            ValueError: If there are none.
        """
        return recorded(self.crossing, who, 'maps inside the heads')

    def mask_logits(self, who: str) -> LogitPair:
        """Masks of the same boxes by the two networks.

        Args:
            who (str): The loss that asks.

        Raises:
            ValueError: If there are none.
        """
        return recorded(self.masks, who, 'the masks')


def recorded(found: Optional[Found], who: str, what: str) -> Found:
    """What was recorded for a loss; ValueError if it was not."""
    if found is None:
        raise ValueError(
            f'{who} needs {what} of student and teacher, which were not '
            'recorded: its attach() must ask the probe for them'
        )
    return found


class Probe(Protocol):
    """What a loss can learn about the two networks when it is built."""

    def features(self) -> FeaturePair:
        """Features of a blank image by both networks, for their shapes.

        Who calls this has the features recorded in each step.
        """

    def distributions(self) -> None:
        """Have the distributions of the boxes recorded in each step."""

    def crossed(self, layer: int) -> Tuple[HeadMaps, HeadMaps]:
        """Maps of a blank image inside both heads, for their shapes.

        Who calls this has them recorded in each step.

        Args:
            layer (int): See ``mmdet_rankkd.recorders.CrossedHead``.
        """

    def masks(self, who: str) -> None:
        """Have the masks of boxes recorded in each step.

        Args:
            who (str): The loss that asks.

        Raises:
            ValueError: If the config says that there are no class logits,
                whose ``class_map`` tells the classes of the masks.
        """

    def class_logits(self, who: str) -> None:
        """Have class logits recorded in each step.

        Args:
            who (str): The loss that asks.

        Raises:
            ValueError: If the config says that there are none.
        """

    def every_place(self, who: str) -> None:
        """Have the logits be those of every place of a dense head.

        Args:
            who (str): The loss that asks.

        Raises:
            ValueError: If some are left out.
        """
