"""What distillers of detectors and of classifiers share."""

import logging
from contextlib import nullcontext
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Optional,
    Tuple,
    Union,
)

import torch
from mmengine.logging import MessageHub, print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmdet_rankkd.checkpoint.load import DISTILLER_PREFIX
from mmdet_rankkd.compat import building_runner
from mmdet_rankkd.logits.masks import imitation_masks
from mmdet_rankkd.losses import FeatureLoss, LogitLoss, kendall_tau
from mmdet_rankkd.registry import MODELS

from .build import (
    DELETE,
    build_losses,
    build_part,
    build_student,
    own_random_numbers,
)
from .teacher import Teacher, teacher_from

Losses = Dict[str, Union[Tensor, List[Tensor]]]


def _own_or_students(module: Any, own: Callable, name: str) -> Any:
    try:
        return own(name)
    except AttributeError:
        if name == 'student':
            raise
        return getattr(module.student, name)


class DistillDataPreprocessor(nn.Module):
    """The student's data preprocessor, plus the teacher's view in training.

    Args:
        student (nn.Module): Data preprocessor of the student.
        teacher_inputs (Callable): Makes the teacher's images of a raw batch,
            or None where they are the student's.
    """

    def __init__(self, student: nn.Module, teacher_inputs: Callable) -> None:
        super().__init__()
        self.student = student
        self.teacher_inputs = teacher_inputs

    def __getattr__(self, name: str) -> Any:
        """``device``, ``mean``, ``std``, ...: those of the student's."""
        return _own_or_students(self, super().__getattr__, name)

    def forward(self, data: dict, training: bool = False) -> dict:
        """As ``BaseDataPreprocessor.forward``; may add ``teacher_inputs``.

        A second view of the images, ``strong_inputs``, becomes ``strong``,
        which has ``inputs`` and ``teacher_inputs`` of its own.
        """
        if not training:
            return self.student(data, training)
        data = dict(data)
        strong = data.pop('strong_inputs', None)
        result = self._view(data)
        if strong is not None:
            result['strong'] = self._view(dict(inputs=strong))
        return result

    def _view(self, data: dict) -> dict:
        teacher_inputs = self.teacher_inputs(data)
        data = self.student(data, True)
        if teacher_inputs is not None:
            data['teacher_inputs'] = teacher_inputs
        return data


class BaseDistiller(BaseModel):
    """A student that trains as always, beside a teacher that is replayed.

    To checkpoints, tests and inference it is the student: its state dict has
    the student's keys, and unknown attributes are looked up on the student.
    Parameters of the losses, if they have any, are saved under
    ``distiller.``, resumed, and dropped by ``tools/export_student.py``.

    Args:
        student (dict or nn.Module): The student's model config.
        teacher (dict): ``config``, ``checkpoint`` and the options of
            :class:`Teacher`.
        logits (dict): The logit hook.
        losses (list[dict]): Losses of type :class:`DistillLoss`. Those of
            weight 0 are not evaluated; with none left, nor is the teacher.
        log_tau (bool): Log ``kendall_tau``, the mean over rows of the exact
            coefficient between student and teacher logits.
        init_cfg (dict, optional): As everywhere in MMEngine.
        data_preprocessor (dict, optional): The student's, where its config
            has none; MMEngine's Runner hands that of the config here.
        features (dict, optional): Arguments of ``LayerFeatures``, the hook of
            the feature losses, if there are any. For these, the teacher's
            config is read when the model is built, to learn its shapes.
        **unknown (Any): Nothing; what is here is an error.

    Raises:
        KeyError: If a type is not known.
        TypeError: If an argument is not known or of a wrong type.
        ValueError: If a setting is out of its range.
    """

    #: Hook of feature losses, unless the config has one.
    FEATURES: Dict[str, Any] = dict(layer='backbone')

    def __init__(
        self,
        student: Union[dict, nn.Module],
        teacher: Union[dict, Teacher],
        logits: Union[dict, Any],
        losses: List[Union[dict, nn.Module]],
        log_tau: bool = True,
        init_cfg: Optional[dict] = None,
        data_preprocessor: Optional[dict] = None,
        features: Optional[dict] = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(
                f'{type(self).__name__} has no argument '
                f'{", ".join(map(repr, unknown))}. {DELETE}'
            )
        model: Any = build_student(student, data_preprocessor)
        super().__init__(
            DistillDataPreprocessor(
                model.data_preprocessor, self._teacher_inputs
            ),
            init_cfg,
        )
        self.student: Any = model
        self.teacher = teacher_from(teacher)
        self.logits = build_part(logits, 'logits')
        self.losses = build_losses(losses)
        self.features: Any = None
        if any(isinstance(x, FeatureLoss) for x in self.losses.values()):
            with own_random_numbers():
                self._build_features(features or dict(self.FEATURES))
        self.log_tau = log_tau
        self._resumes = bool(getattr(building_runner(), '_resume', False))
        self._teacher_is_ready = False
        self._register_state_dict_hook(_to_student_keys)

    def _build_features(self, features: dict) -> None:
        self.features = MODELS.build(
            dict(features, type='mmdet_rankkd.LayerFeatures')
        )
        ours = self.features.probe(self.student, 'student')
        theirs = self.teacher.probe(self.features)
        for loss in self.losses.values():
            if isinstance(loss, FeatureLoss):
                loss.build(ours, theirs)

    def __getattr__(self, name: str) -> Any:
        """Look up on the student what the distiller does not have."""
        return _own_or_students(self, super().__getattr__, name)

    def named_parameters(
        self, prefix: str = '', *args: Any, **kwargs: Any
    ) -> Iterator[Tuple[str, nn.Parameter]]:
        """Parameters by the names that they have in a checkpoint.

        Those of the plain student come first, in its order: constructors of
        optimizers tell layers by how a name begins.
        """
        start = prefix + '.' if prefix else ''
        for name, parameter in super().named_parameters('', *args, **kwargs):
            yield start + _checkpoint_name(name), parameter

    def init_weights(self) -> None:
        """Initialise the student; build, check and describe the teacher.

        MMEngine's Runner calls this once, before the first step.
        """
        super().init_weights()
        self.prepare()

    def prepare(self) -> None:
        """Build and check the teacher, and say what will be distilled.

        Raises:
            FileNotFoundError: If config or checkpoint are not there.
            TypeError: If student and teacher are of kinds that cannot be
                compared.
            ValueError: If the teacher does not fit its checkpoint, the
                student or the classes of the training set.
        """
        if not self.losses:
            print_log(
                'distillation: all losses have weight 0, so the student '
                'trains alone',
                'current',
                logging.WARNING,
            )
            return
        self._build_teacher()
        columns = self.logits.columns(self.student)
        losses: Any = self.losses
        for loss in losses.values():
            loss.check(columns, self.logits.sigmoid(self.student))
        if self.log_tau and columns is not None and columns < 2:
            print_log(
                'kendall_tau is not logged: one column has no order',
                'current',
                logging.WARNING,
            )
        print_log('\n'.join(self.describe()), 'current')

    def describe(self) -> List[str]:
        """Teacher, rows and losses in a few lines, once all is built."""
        lines = [
            f'distillation: {type(self.teacher.model).__name__} teaches '
            f'{type(self.student).__name__}',
            *(f'  {line}' for line in self.teacher.describe()),
            f'  rows: {self.logits.describe()}',
        ]
        for name, loss in self.losses.items():
            when = f', {loss.schedule}' if loss.schedule else ''
            lines.append(
                f'  {name}: {type(loss).__name__}, weight '
                f'{loss.loss_weight:g}{when}'
            )
        return lines

    def _load_from_state_dict(
        self, state_dict: Dict[str, Any], prefix: str, *args: Any
    ) -> None:
        """Take the student's keys; the reverse of :func:`_to_student_keys`."""
        self._compare_learned(state_dict, prefix)
        for key in [k for k in state_dict if k.startswith(prefix)]:
            name = key[len(prefix) :]
            if name.startswith(DISTILLER_PREFIX):
                name = 'losses.' + name[len(DISTILLER_PREFIX) :]
            else:
                name = 'student.' + name
            state_dict[prefix + name] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _compare_learned(
        self, state_dict: Dict[str, Any], prefix: str
    ) -> None:
        """Compare what losses have learned with what a checkpoint has.

        Raises:
            ValueError: If they differ and the checkpoint is resumed: its
                optimizer is of other parameters then.
        """
        start = prefix + DISTILLER_PREFIX
        keys = [k[len(start) :] for k in state_dict if k.startswith(start)]
        saved = {k.split('.')[0] for k in keys}
        learned = {n for n, x in self.losses.items() if x.state_dict()}
        problems = []
        if saved - learned:
            names = ', '.join(sorted(saved - learned))
            problems.append(
                f'the checkpoint holds what {names} learned, which is not in '
                'losses'
            )
        if learned - saved:
            names = ', '.join(sorted(learned - saved))
            problems.append(f'it holds nothing of {names}, which learns')
        if not problems or not any(k.startswith(prefix) for k in state_dict):
            return
        if self._resumes:
            raise ValueError(
                '; '.join(problems) + '. Resume with the losses that the '
                'training began with; or start anew from its weights, with '
                'load_from and without resume.'
            )
        if saved - learned:
            print_log(problems[0] + ': ignored', 'current', logging.WARNING)
        for key in keys:
            if key.split('.')[0] not in learned:
                del state_dict[start + key]

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> nn.Module:
        """``to``, ``cuda``, ``half``, ...: the teacher follows."""
        result = super()._apply(fn, *args, **kwargs)
        self.teacher.follow(self.student)
        return result

    def active_losses(self) -> Dict[str, Any]:
        """Losses that count now: those whose weight is not 0.

        In a training of MMEngine's Runner, schedules of losses follow its
        epoch and iteration, which it publishes on the message hub.
        """
        losses: Any = self.losses
        hub = MessageHub.get_current_instance()
        now = [hub.runtime_info.get(name) for name in ('epoch', 'iter')]
        for loss in losses.values():
            if None not in now:
                loss.set_progress(*now)
        return {n: x for n, x in losses.items() if x.active}

    def _teacher_inputs(self, data: dict) -> Optional[Tensor]:
        if not self.active_losses():
            return None
        self._build_teacher()
        return self.teacher.preprocess(data, self.student.data_preprocessor)

    def _build_teacher(self) -> nn.Module:
        model = self.teacher.build(self.student, self.logits)
        if not self._teacher_is_ready:
            for loss in self.losses.values():
                if isinstance(loss, FeatureLoss):
                    loss.teacher_is_ready(model)
            self._teacher_is_ready = True
        return model

    def forward(
        self,
        inputs: Tensor,
        data_samples: Optional[list] = None,
        mode: str = 'tensor',
        teacher_inputs: Optional[Tensor] = None,
        strong: Optional[dict] = None,
    ) -> Any:
        """The student's forward; in mode ``'loss'`` with distillation.

        Args:
            inputs (Tensor): Preprocessed images, shape (B, 3, H, W).
            data_samples (list, optional): Annotations and image facts.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.
            teacher_inputs (Tensor, optional): The images as the teacher
                wants them, where that differs; the data preprocessor of this
                model makes them.
            strong (dict, optional): ``inputs`` and ``teacher_inputs`` of a
                second view of the images.
        """
        if mode != 'loss':
            return self.student(inputs, data_samples, mode)
        result: Any
        result, pair = self._pass(inputs, data_samples, teacher_inputs)
        if strong is not None:
            more: Any
            more, other = self._pass(
                strong['inputs'], data_samples, strong.get('teacher_inputs')
            )
            for name in more:
                if 'loss' in name:
                    result[name] = result[name] + more[name]
            if pair is not None:
                pair.strong = (other.student, other.teacher)
        return self.add_losses(result, pair)

    def _pass(
        self,
        inputs: Tensor,
        data_samples: Optional[list],
        teacher_inputs: Optional[Tensor],
    ) -> Tuple[Losses, Any]:
        """One pass of the student and one replay of the teacher.

        Returns:
            tuple[dict, LogitPair or None]: The student's losses and the
            logits; None where no distillation loss is active.
        """
        if not self.active_losses():
            return self.student(inputs, data_samples, mode='loss'), None
        self._build_teacher()
        if teacher_inputs is None:
            if not self.teacher.shares_inputs:
                raise ValueError(
                    "the teacher's normalisation or padding differs from the "
                    "student's: call this model on what its own "
                    'data_preprocessor(data, training=True) returns'
                )
            teacher_inputs = inputs
        with (
            self.logits.record(self.student) as record,
            self._layers(self.student, 'student') as ours,
        ):
            result = self.student(inputs, data_samples, mode='loss')
        with self._layers(self.teacher.model, 'teacher') as theirs:
            pair = self.teacher.replay(
                self.logits.replay, teacher_inputs, record
            )
        if self.features is not None:
            pair.features = (ours[-1], theirs[-1])
            pair.extras = self._extras(ours[-1], data_samples)
        return result, pair

    def _extras(self, features: Any, data_samples: Any) -> Dict[str, dict]:
        """What losses want beside features, by name of the loss."""
        extras: Dict[str, dict] = {}
        for name, loss in self.active_losses().items():
            factor = getattr(loss, 'mask_factor', None)
            if factor is not None:
                masks = imitation_masks(
                    self.student, features.stages, data_samples, factor
                )
                extras[name] = dict(masks=masks)
            elif getattr(loss, 'wants_contrast', False):
                index = [s.get('contrast_index') for s in data_samples]
                if None not in index:
                    extras[name] = dict(contrast=torch.stack(index))
        return extras

    def _layers(self, model: Any, role: str) -> Any:
        if self.features is None:
            return nullcontext()
        return self.features.record(model, role)

    def add_losses(self, result: Losses, pair: Any) -> Losses:
        """Add the distillation losses of a ``LogitPair``, and tau.

        Losses that are off now and learn something are there as zero; see
        :meth:`DistillLoss.idle`. Without a pair, all are off.
        """
        for name, loss in self.active_losses().items():
            if name in result:
                raise ValueError(
                    f'the student has a loss named {name!r} already; give '
                    'the distillation loss another loss_name'
                )
            if isinstance(loss, FeatureLoss):
                extras = pair.extras.get(name, {})
                result[name] = loss(*pair.features, **extras)
            else:
                result[name] = loss_of_pair(loss, pair)
        losses: Any = self.losses
        for name, loss in losses.items():
            if name not in result:
                idle = loss.idle()
                if idle is not None:
                    result[name] = idle
        if self.log_tau and pair is not None and pair.student.shape[1] > 1:
            rows = (pair.student, pair.teacher)
            if pair.watched is not None:
                rows = tuple(x[pair.watched] for x in rows)
            if len(rows[0]):
                result['kendall_tau'] = kendall_tau(*rows).mean()
        return result


def loss_of_pair(loss: LogitLoss, pair: Any) -> Tensor:
    """A loss of the views of a ``LogitPair`` that it asks for.

    Raises:
        ValueError: If it asks for a strong view and there is none.
    """
    rows = dict(
        weight=pair.weight, avg_factor=pair.avg_factor, labels=pair.labels
    )
    if loss.view != 'weak' and pair.strong is None:
        raise ValueError(
            f'{type(loss).__name__} needs a second, strong view of each '
            'image, which the data do not have. Make one with TwoViews in '
            'the training pipeline of a classifier; detectors have none.'
        )
    weak = (pair.student, pair.teacher)
    if loss.view == 'weak':
        return loss(*weak, **rows)
    if loss.view == 'strong':
        return loss(*pair.strong, **rows)
    if loss.joins_views:
        return loss(*weak, strong=pair.strong, **rows)
    return loss(*weak, **rows) + loss(*pair.strong, **rows)


def _checkpoint_name(name: str) -> str:
    """``student.x`` is ``x`` in a checkpoint, ``losses.x`` ``distiller.x``."""
    part, _, rest = name.partition('.')
    if part == 'student':
        return rest
    return DISTILLER_PREFIX + rest if part == 'losses' else name


def _to_student_keys(
    module: nn.Module, state_dict: Dict[str, Any], prefix: str, _: Any
) -> None:
    """State dict hook: entries by :func:`_checkpoint_name`.

    Only of student and losses: the data preprocessor's are the student's.
    """
    for key in [k for k in state_dict if k.startswith(prefix)]:
        value = state_dict.pop(key)
        name = key[len(prefix) :]
        if name.split('.')[0] in ('student', 'losses'):
            state_dict[prefix + _checkpoint_name(name)] = value
