"""What distillers of detectors and of classifiers share."""

from contextlib import ExitStack
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmdet_rankkd.losses import DistillLoss
from mmdet_rankkd.recorders import LogitRecorder, Recorder
from mmdet_rankkd.structures import DistillBatch, teacher_scales

from .build import (
    RecorderProbe,
    build_losses,
    build_recorder,
    build_student,
    refuse_unknown,
)
from .common import own_random_numbers
from .first_step import begin
from .preprocessor import DistillDataPreprocessor
from .report import report, tau_of
from .student_wrapper import StudentWrapper
from .teacher import Teacher, teacher_from


class BaseDistiller(StudentWrapper):
    """A student that trains as always, beside a teacher that is replayed.

    To checkpoints, optimizers, tests and inference it is the student; what
    losses learn is saved apart, resumed, and never exported.

    Args:
        student (dict or nn.Module): The student's model config.
        teacher (dict): ``config``, ``checkpoint`` and the options of
            :class:`Teacher`.
        logits (dict): The recorder of the logits.
        losses (list[dict]): Losses of type :class:`DistillLoss`. Those of
            weight 0 are left out; with none left, so is the teacher.
        log_tau (bool): Log ``kendall_tau``, the mean of the rows' exact tau.
        init_cfg (dict, optional): As everywhere in MMEngine.
        data_preprocessor (dict, optional): The student's, where its config
            has none; MMEngine's Runner hands that of the config here.
        features (dict, optional): Arguments of ``LayerFeatures``. If a loss
            compares features, the teacher's config is read at once for them.
        **unknown (Any): Nothing; what is here is an error.

    Raises:
        KeyError, TypeError, ValueError: If a type or an argument is not
            known, or a setting is out of its range.
    """

    #: Arguments of the recorder of features, unless the config has some.
    FEATURES: Dict[str, Any] = dict(layer='backbone')

    def __init__(
        self,
        student: Union[dict, nn.Module],
        teacher: Union[dict, Teacher],
        logits: Union[dict, LogitRecorder],
        losses: List[Union[dict, nn.Module]],
        log_tau: bool = True,
        init_cfg: Optional[dict] = None,
        data_preprocessor: Optional[dict] = None,
        features: Optional[dict] = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(self, unknown)
        model = build_student(student, data_preprocessor)
        preprocessor = DistillDataPreprocessor(
            model.data_preprocessor, self._teacher_inputs
        )
        super().__init__(model, build_losses(losses), preprocessor, init_cfg)
        self.teacher = teacher_from(teacher)
        self.logits = build_recorder(logits)
        layers = features or self.FEATURES
        probe = RecorderProbe(model, self.teacher, layers, self.logits)
        with own_random_numbers():
            for loss in self.losses.values():
                loss.attach(probe)
        #: By the name of what they record in ``DistillBatch``.
        self.recorders: Dict[str, Recorder] = {'logits': self.logits}
        self.recorders.update(probe.recorders)
        self.log_tau = log_tau
        self._is_ready = self._has_begun = False

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> nn.Module:
        """``to``, ``cuda``, ``half``, ...: the teacher follows."""
        result = super()._apply(fn, *args, **kwargs)
        self.teacher.follow(self.student)
        return result

    def init_weights(self) -> None:
        """What the Runner calls once before training: also the checks."""
        super().init_weights()
        if self.losses:
            self.prepare()
        report(self)

    def prepare(self) -> None:
        """Build and check the teacher, once; see :meth:`Teacher.build`."""
        if not self._is_ready:
            teacher = self.teacher.build(self.student, self.logits)
            for recorder in list(self.recorders.values())[1:]:
                self.teacher.check_recorder(self.student, teacher, recorder)
            for loss in self.losses.values():
                loss.teacher_is_ready(teacher)
            self._is_ready = True

    def active_losses(self) -> Dict[str, DistillLoss]:
        """Losses that count now, at this point of the Runner's training."""
        hub = MessageHub.get_current_instance()
        now = [hub.runtime_info.get(name) for name in ('epoch', 'iter')]
        for loss in self.losses.values():
            if None not in now:
                loss.set_progress(*now)
        return {n: x for n, x in self.losses.items() if x.active}

    def _compares(self) -> bool:
        """Whether a loss counts now; in the first step, whether one will."""
        if self._has_begun:
            return bool(self.active_losses())
        return any(x.loss_weight for x in self.losses.values())

    def _teacher_inputs(
        self, data: dict, size: Sequence[int]
    ) -> Optional[Tensor]:
        if not self._compares():
            return None
        self.prepare()
        return self.teacher.preprocess(
            data, self.student.data_preprocessor, size
        )

    def forward(
        self,
        inputs: Tensor,
        data_samples: Optional[list] = None,
        mode: str = 'tensor',
        teacher_inputs: Optional[Tensor] = None,
    ) -> Any:
        """The student's forward; in mode ``'loss'`` with distillation.

        Args:
            inputs (Tensor): Preprocessed images, shape (B, 3, H, W).
            data_samples (list, optional): Annotations and image facts.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.
            teacher_inputs (Tensor, optional): The images as the teacher
                wants them, where that differs. Each data sample's
                ``teacher_scale`` is their size over that of ``inputs``.
        """
        if mode != 'loss':
            return self.student(inputs, data_samples, mode)
        losses, batch = self.compare(inputs, data_samples, teacher_inputs)
        return self.add_losses(losses, batch)

    def compare(
        self,
        inputs: Tensor,
        data_samples: Optional[list],
        teacher_inputs: Optional[Tensor],
    ) -> Tuple[Any, Optional[DistillBatch]]:
        """The student's losses and, where a loss counts, a replay."""
        if not self._compares():
            return self.student(inputs, data_samples, mode='loss'), None
        self.prepare()
        images = self.teacher.images(inputs, teacher_inputs)
        scales = None
        if teacher_inputs is not None:
            scales = teacher_scales(data_samples)
        with ExitStack() as context:
            records = {
                name: (r, context.enter_context(r.record(self.student)))
                for name, r in self.recorders.items()
            }
            losses = self.student(inputs, data_samples, mode='loss')
        return losses, DistillBatch(
            student_model=self.student,
            data_samples=list(data_samples or ()),
            **self.teacher.replay(images, records, scales),
        )

    def add_losses(
        self, losses: Dict[str, Any], batch: Optional[DistillBatch]
    ) -> Dict[str, Any]:
        """Add the distillation losses of a batch, idle ones too, and tau."""
        active = {} if batch is None else self.active_losses()
        if batch is not None and not self._has_begun:
            begin(self.losses, losses, batch)
            self._has_begun = True
        for name, loss in self.losses.items():
            given = batch if name in active else None
            value = loss.value(given) if given else loss.idle()
            if value is not None:
                losses[name] = value
        tau = tau_of(batch) if active and self.log_tau else None
        if tau is not None:
            losses['kendall_tau'] = tau
        return losses
