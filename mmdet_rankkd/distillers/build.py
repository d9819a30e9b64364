"""Building what a distillation config names, with errors that help."""

from typing import Any, Dict, Optional, Sequence, Tuple, Union

from mmengine.config import Config
from torch import nn

from mmdet_rankkd.losses import DistillLoss
from mmdet_rankkd.losses.base import did_you_mean
from mmdet_rankkd.recorders import (
    BoxDistributions,
    CrossedHead,
    LayerFeatures,
    LogitRecorder,
    MaskLogits,
    Model,
    Recorder,
)
from mmdet_rankkd.registry import MODELS
from mmdet_rankkd.structures import FeaturePair, HeadMaps

from .common import check_arguments, check_values, own_random_numbers
from .teacher import Teacher


def build_student(
    config: Union[dict, nn.Module], data_preprocessor: Optional[dict]
) -> Model:
    """Build the student.

    Args:
        config (dict or nn.Module): Its model config, or the model.
        data_preprocessor (dict, optional): Used where the config has none.

    Raises:
        TypeError: If it is no model config.
    """
    if isinstance(config, nn.Module):
        return config
    if isinstance(config, Config) or (
        isinstance(config, dict) and 'model' in config
    ):
        raise TypeError(
            'student is a whole config, not its model: write '
            'student=_base_.model'
        )
    if not isinstance(config, dict) or 'type' not in config:
        raise TypeError(
            'student must be the model config of the student, a dict with a '
            f"type, got {config!r}. Make the student's config the _base_ of "
            'this one and write student=_base_.model'
        )
    if data_preprocessor is not None:
        config = dict(config)
        config.setdefault('data_preprocessor', data_preprocessor)
    return MODELS.build(config)


def refuse_unknown(model: object, unknown: Dict[str, Any]) -> None:
    """Raise TypeError if a distiller got arguments that it does not have."""
    if unknown:
        raise TypeError(
            f'{type(model).__name__} has no argument '
            f'{", ".join(map(repr, unknown))}. Write _delete_=True in the '
            'model of the distillation config: without it, MMEngine merges '
            'that model with the one of _base_.'
        )


def build_recorder(config: Union[dict, LogitRecorder]) -> LogitRecorder:
    """Build the recorder of the logits.

    Raises:
        KeyError: If the type is not known.
        TypeError: If it is no :class:`LogitRecorder`, or an argument of it
            not known.
    """
    recorder = build_part(config, 'logits')
    if not isinstance(recorder, LogitRecorder):
        raise TypeError(
            'logits must be derived from mmdet_rankkd.recorders.LogitRecorder;'
            f' {type(recorder).__name__} is not'
        )
    return recorder


class RecorderProbe:
    """What the losses compare beside logits; see ``structures.Probe``.

    Args:
        student (nn.Module): The student.
        teacher (Teacher): The teacher; its config is read when it is asked.
        settings (dict): Arguments of ``LayerFeatures``.
        logits (LogitRecorder): The recorder of the logits.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Teacher,
        settings: Dict[str, Any],
        logits: LogitRecorder,
    ) -> None:
        self.student = student
        self.teacher = teacher
        self.settings = settings
        self.logits = logits
        #: What records it in training, by its name in ``DistillBatch``.
        self.recorders: Dict[str, Recorder] = {}
        self._features: Optional[FeaturePair] = None

    def features(self) -> FeaturePair:
        """Features of a blank image by both networks, for their shapes."""
        if self._features is None:
            recorder = build_part(
                dict(self.settings, type=LayerFeatures), 'features'
            )
            recorder.input_scale = self.teacher.input_scale or 1
            self._features = recorder.pair(
                recorder.probe(self.student, 'student'),
                self.teacher.probe(recorder),
            )
            self.recorders['features'] = recorder
        return self._features

    def distributions(self) -> None:
        """Have the distributions of the boxes recorded in each step."""
        self.recorders.setdefault('boxes', BoxDistributions())

    def masks(self, who: str) -> None:
        """Have the masks of boxes recorded in each step.

        Raises:
            ValueError: If the recorder is ``NoLogits``.
        """
        self.class_logits(who)
        recorder = MaskLogits(self.logits.class_map)
        self.recorders.setdefault('masks', recorder)

    def class_logits(self, who: str) -> None:
        """Have class logits recorded in each step, of the same classes.

        Raises:
            ValueError: If the recorder is ``NoLogits``.
        """
        if not self.logits.compares_logits:
            raise ValueError(
                f'{who} cannot stand beside {type(self.logits).__name__}; '
                'record the logits: RoILogits, DenseLogits, QueryLogits or '
                'ClsLogits'
            )

    def every_place(self, who: str) -> None:
        """Have the logits be those of every place.

        Raises:
            ValueError: If a ``class_map`` leaves some out, or there are none.
        """
        self.class_logits(who)
        if self.logits.class_map is not None:
            raise ValueError(
                f'{who} compares maps of all places, and class_map leaves '
                'out those of objects of other classes; give a teacher of '
                "the student's classes, or take maps='features'"
            )

    def crossed(self, layer: int) -> Tuple[HeadMaps, HeadMaps]:
        """Maps of a blank image inside both heads, for their shapes.

        Raises:
            TypeError, ValueError: If a head has no such layer, or another
                loss asked for another.
        """
        recorder = CrossedHead(layer)
        known = self.recorders.setdefault('crossing', recorder)
        if isinstance(known, CrossedHead) and known.layer != layer:
            raise ValueError(
                'losses ask for maps inside the heads behind layer '
                f'{known.layer} and behind layer {layer}; give them one layer'
            )
        return (
            recorder.probe(self.student, 'student'),
            self.teacher.probe(recorder),
        )


def build_part(config: Union[dict, Any], what: str) -> Any:
    """Build a recorder or a loss of its config, or return the object.

    Raises:
        KeyError: If the type is not known.
        TypeError: If it is no config, or has arguments that are not known,
            are lacking or of another type.
        ValueError: If an argument is out of its range.
    """
    if not isinstance(config, dict):
        if isinstance(config, (str, bytes, list, tuple, type(None))):
            raise TypeError(f'{what} must be a dict with a type: {config!r}')
        return config
    if 'type' not in config:
        raise TypeError(f'{what} has no type: {config!r}')
    kind = config['type']
    if not callable(kind):
        with MODELS.switch_scope_and_registry(None) as registry:
            found = registry.get(kind)
        if found is None:
            raise KeyError(f'{what}: {_unknown_type(kind)}')
        kind = found
    check_arguments(kind, config, what)
    where = f'{what}: {kind.__name__}'
    try:
        part = MODELS.build(config)
    except TypeError as error:
        check_values(kind, config, where)
        raise TypeError(f'{where}: {error}') from error
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from error
    check_values(kind, config, where)
    return part


def _unknown_type(kind: str) -> str:
    MODELS.import_from_location()
    known = sorted(MODELS.module_dict)
    name = kind.split('.')[-1]
    if name in known:
        full = f'mmdet_rankkd.{name}'
        return f'write type={full!r} in place of {kind!r}'
    return (
        f'there is no type {kind!r}{did_you_mean(name, known)}. Types of this '
        "package are written with its name, as in 'mmdet_rankkd.KLDivLoss'"
    )


def build_losses(configs: Sequence[Union[dict, nn.Module]]) -> nn.ModuleDict:
    """Build losses and key them by their name in the log.

    They draw their initial weights from numbers of their own. Losses of
    weight 0 are left out, so that training with them is training without.

    Raises:
        KeyError: If a type is not known.
        TypeError: If ``configs`` is no list, one of them no
            :class:`DistillLoss`, or an argument of one not known.
        ValueError: If there is none, or two have the same name.
    """
    if not isinstance(configs, (list, tuple)):
        raise TypeError(
            'losses must be a list, as in losses=[dict(type='
            f"'mmdet_rankkd.KLDivLoss')], got {type(configs).__name__}"
        )
    if not configs:
        raise ValueError(
            'losses is empty, so there is nothing to distil. Name one or '
            "more; to train the student alone, use the student's own config"
        )
    losses: Dict[str, nn.Module] = {}
    for index, config in enumerate(configs):
        with own_random_numbers():
            loss = build_part(config, f'losses[{index}]')
        if not isinstance(loss, DistillLoss):
            raise TypeError(
                'losses must be derived from mmdet_rankkd.losses.DistillLoss; '
                f'{type(loss).__name__} is not'
            )
        if loss.loss_name in losses:
            raise ValueError(
                f'two losses are named {loss.loss_name!r}; set loss_name on '
                'one of them'
            )
        losses[loss.loss_name] = loss
    return nn.ModuleDict(
        {name: x for name, x in losses.items() if x.loss_weight}
    )
