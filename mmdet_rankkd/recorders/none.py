"""In place of a recorder of logits, where none are compared."""

from contextlib import contextmanager
from typing import Iterator, Optional

from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import LogitPair, Scales

from .base import FeatureMaps, LogitRecorder, Model


@MODELS.register_module()
class NoLogits(LogitRecorder[None]):
    """No logits: for losses that compare other things alone.

    The teacher's head does not run for it, so that the teacher of
    ``PKDLoss`` and other losses of features may be of another family than
    the student, with other heads, anchors and classes. Losses of logits and
    of masks are refused beside it, and ``kendall_tau`` is not logged.
    """

    compares_logits = False

    def check(self, student: Model, teacher: Model) -> None:
        """Raise nothing: no two models are too different for it."""

    @contextmanager
    def record(self, student: Model) -> Iterator[None]:
        """Record nothing in the context."""
        yield None

    def rescaled(self, record: None, scales: Scales) -> None:
        """Nothing, whatever the size of the teacher's images."""

    def replay(
        self, teacher: Model, features: FeatureMaps, record: None
    ) -> LogitPair:
        """No rows of no columns."""
        nothing = features[0].new_zeros(0, 0)
        return LogitPair(nothing, nothing)

    def columns(self, student: Model) -> Optional[int]:
        """None: there are none."""
        return None

    def sigmoid(self, student: Model) -> Optional[bool]:
        """None: there are no heads to ask."""
        return None

    def describe(self) -> str:
        """Which rows and columns count, for the log."""
        return 'none, logits are not compared'
