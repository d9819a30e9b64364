"""The frozen teacher, kept out of the student's module tree."""

import logging
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import (
    Any,
    ContextManager,
    Dict,
    List,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

import torch
import torch.nn.functional as F
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from mmdet_rankkd.checkpoint.build import build_model, load_config
from mmdet_rankkd.checkpoint.load import first_few, load_weights
from mmdet_rankkd.checkpoint.read import (
    Checkpoint,
    checkpoint_classes,
    locate_file,
    read_checkpoint,
)
from mmdet_rankkd.compat import building_runner
from mmdet_rankkd.losses.base import is_number
from mmdet_rankkd.recorders import LogitRecorder, Model, Recorder
from mmdet_rankkd.recorders.base import NO_OTHER_SIZE
from mmdet_rankkd.recorders.shared import (
    check_scales,
    image_channels,
    is_detector,
    teacher_images,
)
from mmdet_rankkd.structures import Scales

from .common import check_arguments, own_random_numbers

Found = TypeVar('Found', covariant=True)
DTYPES = {
    'bf16': torch.bfloat16,
    'bfloat16': torch.bfloat16,
    'fp16': torch.float16,
    'float16': torch.float16,
}


def config_folder() -> Optional[Path]:
    """Folder of the config that MMEngine's Runner is being built of."""
    runner = building_runner()
    name = None if runner is None else runner.cfg.filename
    return None if name is None else Path(name).resolve().parent


def current_classes() -> Optional[Sequence[str]]:
    """Class names of the training set, where MMEngine's Runner knows them.

    Its loops publish the metainfo of their data set on the visualizer, which
    is the one place that a model can see.
    """
    kinds = [Visualizer]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for kind in reversed(kinds):
        for visualizer in reversed(list(kind._instance_dict.values())):
            if visualizer.dataset_meta:
                return visualizer.dataset_meta.get('classes')
    return None


class Probing(Protocol[Found]):
    """A recorder that finds shapes before training."""

    def probe(
        self, model: Model, role: str, size: Optional[int] = None
    ) -> Found:
        """What it records of a blank image of this side."""


class Teacher:
    """A frozen detector or classifier that is asked for logits.

    Not an ``nn.Module``: so it is in no state dict, optimizer, DDP or EMA
    copy. It is built when training first needs it; testing, exporting and
    resuming need neither its config nor its checkpoint.

    Args:
        config (str or dict): File, ``package::path`` or config with the
            teacher's ``model``.
        checkpoint (str): File, ``package::path`` or http(s) address of its
            weights. Relative paths of both are looked for in the current
            folder, then in that of the config that is trained.
        dtype (str, optional): ``'bf16'`` or ``'fp16'``: autocast of its
            backbone and neck. Its heads stay in float32, since boxes rounded
            to half precision are other boxes. By default, backbone and neck
            follow the autocast of the training.
        channels_last (bool): Memory format of its images and weights.
        fold_norms (bool): Fold the batch norms of its backbone and neck into
            the convolutions before them. Its features are then the same but
            for rounding, which is checked.
        trust_checkpoint (bool): Let the checkpoint execute pickled code.
        check_classes (bool): Compare the class names in the checkpoint with
            those of the training set.
        classes (Sequence[str], optional): Names of the teacher's classes,
            where its checkpoint has none.
        input_size (int, optional): Resize the teacher's preprocessed images
            to squares of this side, bilinear, corners not aligned. For
            classifiers.
        input_scale (int, optional): So many times the student's pixels a
            side have all images of the teacher, by
            ``TwoResolutions(scale=...)``. They are padded alike, and dense
            heads and features are compared at the levels with the same
            places. RoIs and logits of whole images do not need it: they
            follow each image's own size.

    Raises:
        ValueError: If ``dtype`` is unknown, ``input_size`` or ``input_scale``
            not positive, both are given, or ``classes`` is no list.
    """

    def __init__(
        self,
        config: Union[str, dict],
        checkpoint: str,
        dtype: Optional[str] = None,
        channels_last: bool = False,
        fold_norms: bool = False,
        trust_checkpoint: bool = False,
        check_classes: bool = True,
        classes: Optional[Sequence[str]] = None,
        input_size: Optional[int] = None,
        input_scale: Optional[int] = None,
    ) -> None:
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(
                f'teacher dtype must be one of {sorted(DTYPES)} or None, '
                f'got {dtype!r}'
            )
        if input_size is not None and (
            not is_number(input_size) or input_size < 1
        ):
            raise ValueError(
                'teacher input_size must be a positive number of pixels or '
                f'None, got {input_size!r}'
            )
        if input_scale is not None and (
            not isinstance(input_scale, int) or input_scale < 1
        ):
            raise ValueError(
                'teacher input_scale must be a whole number above 0 or None, '
                f'got {input_scale!r}'
            )
        if input_size is not None and input_scale is not None:
            raise ValueError(
                'teacher input_size makes squares of one size of its images, '
                'and input_scale keeps them as the data are; give one of them'
            )
        if isinstance(classes, str):
            raise ValueError(
                f'teacher classes must be a list of names, got {classes!r}'
            )
        self.config = config
        self.checkpoint = checkpoint
        self.dtype = DTYPES[dtype] if dtype else None
        self.channels_last = channels_last
        self.fold_norms = fold_norms
        self.trust_checkpoint = trust_checkpoint
        self.check_classes = check_classes
        self.classes = classes
        self.input_size = input_size
        self.input_scale = input_scale
        self.model: Model = None
        self.shares_inputs = False
        #: Folder of the config that is trained, where it is known.
        self.folder = config_folder()
        self._facts: List[str] = []
        self._meta: Checkpoint = {}

    def __deepcopy__(self, memo: Dict[int, Any]) -> 'Teacher':
        """An EMA copy of the student shares the teacher."""
        return self

    def build(self, student: Model, recorder: LogitRecorder) -> nn.Module:
        """Build, check and freeze the teacher; once.

        Args:
            student (nn.Module): Its device and dtype are followed.
            recorder (LogitRecorder): Its ``check`` raises if student and
                teacher do not match. If it has a ``class_map``, that is told
                the names of the classes, which may differ then.

        Raises:
            FileNotFoundError: If config or checkpoint are not there.
            ValueError: If the weights do not fit the config or are not
                finite, or if the class names differ.
        """
        if self.model is None:
            checkpoint = self.read_checkpoint()
            # The teacher's initial weights must not move the random numbers
            # of the training.
            with own_random_numbers():
                model: Model = build_model(self.read_config())
            self.check_recorder(student, model, recorder)
            facts = [self._load(model, checkpoint)]
            self._meta = Checkpoint(meta=checkpoint.get('meta') or {})
            facts.append(self._match_classes(self._meta, recorder))
            self._facts = facts
            if self.input_size is not None:
                resize_inputs(model, self.input_size)
            self.model = model.eval().requires_grad_(False)
            if self.fold_norms:
                fold_norms(model)
            # Once: on a GPU the comparison waits for the device.
            self.shares_inputs = same_preprocessing(
                model.data_preprocessor, student.data_preprocessor
            )
            if self.channels_last:
                self.model.to(memory_format=torch.channels_last)
            self.follow(student)
        return self.model

    def read_config(self) -> Config:
        """Its config; see :func:`load_config`."""
        return load_config(self.config, self.folder, 'teacher config')

    def read_checkpoint(self) -> Checkpoint:
        """Its checkpoint; see :func:`read_checkpoint`."""
        path = locate_file(self.checkpoint, 'teacher checkpoint', self.folder)
        return read_checkpoint(path, self.trust_checkpoint)

    def describe(self) -> List[str]:
        """Where it is from and what was compared, a line each."""
        config = self.config if isinstance(self.config, str) else 'a dict'
        lines = [f'teacher: {config}, {self.checkpoint}', *self._facts]
        if self.input_scale is not None:
            lines.append(
                f"its images: {self.input_scale} times the student's pixels a "
                'side'
            )
        return lines

    def check(self, student: Model, recorder: LogitRecorder) -> None:
        """Check the teacher, which is built, for one more recorder of logits.

        Args:
            student (nn.Module): The student.
            recorder (LogitRecorder): Another one; see :meth:`build`.

        Raises:
            TypeError, ValueError: As :meth:`build`.
        """
        self.check_recorder(student, self.model, recorder)
        self._match_classes(self._meta, recorder)

    def check_recorder(
        self, student: Model, model: Model, recorder: Recorder
    ) -> None:
        """Tell a recorder the teacher's resolution, and have it check both.

        Args:
            student (nn.Module): The student.
            model (nn.Module): The teacher.
            recorder (Recorder): What compares the two.

        Raises:
            TypeError, ValueError: As :meth:`build`; also if it compares no
                images of other sizes and ``input_scale`` says that they are.
        """
        recorder.input_scale = self.input_scale or 1
        if recorder.input_scale != 1 and not recorder.offers_scales:
            raise ValueError(f'{type(recorder).__name__} {NO_OTHER_SIZE}')
        recorder.check(student, model)

    def is_same(self, other: 'Teacher') -> bool:
        """Whether another teacher is the same network and weights."""
        names = ('config', 'checkpoint', 'input_size', 'input_scale')
        return all(getattr(self, n) == getattr(other, n) for n in names)

    def probe(self, recorder: Probing[Found]) -> Found:
        """What a recorder finds of a blank image, with random weights.

        Args:
            recorder (Recorder): One with ``probe``.
        """
        with own_random_numbers():
            model = build_model(self.read_config())
        return recorder.probe(model, 'teacher', self.input_size)

    def _load(self, model: nn.Module, checkpoint: Checkpoint) -> str:
        """Load all weights; return how many there were."""
        what = f'teacher checkpoint {self.checkpoint!r}'
        unused = load_weights(model, checkpoint['state_dict'], what)
        if unused:
            print_log(
                f'{what}: {len(unused)} entries have no place in the '
                f'teacher and are ignored (first: {first_few(unused)})',
                'current',
                level=logging.WARNING,
            )
        count = len(model.state_dict())
        return f'weights: all {count} found, {len(unused)} unused in the file'

    def class_names(self, checkpoint: Checkpoint) -> Optional[Sequence[str]]:
        """Names of the teacher's classes, where they are known."""
        if self.classes is not None:
            return self.classes
        return checkpoint_classes(checkpoint)

    def _match_classes(
        self, checkpoint: Checkpoint, recorder: LogitRecorder
    ) -> str:
        """Compare the class names; return what could be said of them."""
        teacher, student = self.class_names(checkpoint), current_classes()
        class_map = recorder.class_map
        if not recorder.compares_logits:
            return 'classes: names not compared, as no logits are'
        if class_map is not None:
            class_map.match(student, teacher)
            return f'classes: {class_map.count} are shared and compared'
        if not self.check_classes:
            return 'classes: names not compared, as check_classes=False says'
        if teacher is not None and student is not None:
            compare_classes(list(student), list(teacher))
            return f'classes: {len(student)} names, the same in both'
        lacking = (
            "the training set's are not known"
            if teacher is not None
            else 'its checkpoint has none; name them with '
            'teacher=dict(..., classes=[...])'
        )
        fact = f"classes: the teacher's names NOT compared: {lacking}"
        print_log(fact, 'current', level=logging.WARNING)
        return fact

    def follow(self, student: nn.Module) -> None:
        """Move to the device and floating point dtype of the student."""
        if self.model is None:
            return
        for parameter in student.parameters():
            if parameter.is_floating_point():
                self.model.to(device=parameter.device, dtype=parameter.dtype)
                return

    def preprocess(
        self,
        data: dict,
        student_preprocessor: nn.Module,
        student_size: Sequence[int],
    ) -> Optional[Tensor]:
        """The teacher's own view of a batch of raw images.

        Args:
            data (dict): ``inputs``, and ``teacher_inputs`` if the pipeline
                gives the teacher images of its own.
            student_preprocessor (nn.Module): That of the student.
            student_size (Sequence[int]): Height and width of what it gave.

        Returns:
            Tensor, optional: Images as the teacher's config normalises and
            pads them, or None if the student's are the same.

        Raises:
            ValueError: If the two differ and the student's preprocessor also
                augments: the teacher cannot be shown the same pixels then.
        """
        assert self.model is not None
        if self.shares_inputs and 'teacher_inputs' not in data:
            return None
        if getattr(student_preprocessor, 'batch_augments', None):
            raise ValueError(
                "the student's data_preprocessor has batch_augments and "
                'another normalisation, padding or resolution than the '
                'teacher; the teacher would not see the same pixels. Give '
                'both the same mean, std, colour order, padding and '
                'resolution, or move the augmentation to the data pipeline.'
            )
        return teacher_images(
            self.model, data, student_size, self.input_scale or 1
        )

    def images(self, inputs: Tensor, own: Optional[Tensor]) -> Tensor:
        """The images as the teacher wants them.

        Args:
            inputs (Tensor): As the student wants them.
            own (Tensor, optional): As :meth:`preprocess` made them.

        Raises:
            ValueError: If they differ, and there are only the student's.
        """
        if own is not None:
            return own
        if not self.shares_inputs:
            raise ValueError(
                "the teacher's normalisation or padding differs from the "
                "student's: call this model on what its own "
                'data_preprocessor(data, training=True) returns'
            )
        return inputs

    def replay(
        self,
        inputs: Tensor,
        records: Mapping[str, Tuple[Recorder, object]],
        scales: Optional[Scales] = None,
    ) -> Dict[str, Any]:
        """Features of the images, then each recorder's replay on them.

        Recorders run with gradients on: they may choose rows and columns of
        the student's logits, which must stay in the student's graph. The
        teacher, all frozen, has none. What one of them asks of the teacher's
        heads, those after it may watch.

        Args:
            inputs (Tensor): Images as the teacher wants them.
            records (dict): Records by name, a recorder and what it recorded on
                the student.
            scales (list, optional): (width, height) of each of them over
                the student's; None where all are 1.

        Returns:
            dict: What each recorder's ``replay`` gives, by the same names.

        Raises:
            ValueError: If the sizes are not what ``input_scale`` says, or a
                recorder compares no images of such sizes.
        """
        model = self.model
        assert model is not None
        if self.input_scale is not None:
            check_scales(scales, self.input_scale)
        if scales is not None:
            records = {
                name: (recorder, recorder.rescaled(record, scales))
                for name, (recorder, record) in records.items()
            }
        dtype = next(model.parameters()).dtype
        inputs = inputs.to(dtype)
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        device = inputs.device.type
        with ExitStack() as context:
            for recorder, record in records.values():
                context.enter_context(recorder.watch(model, record))
            with torch.no_grad(), self._autocast(device):
                features = model.extract_feat(inputs)
            context.enter_context(torch.autocast(device, enabled=False))
            # mmcv's RoIAlign misreads channels_last features.
            features = tuple(f.to(dtype).contiguous() for f in features)
            return {
                name: recorder.replay(model, features, record)
                for name, (recorder, record) in records.items()
            }

    def _autocast(self, device: str) -> ContextManager[None]:
        """That of its backbone and neck."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(device, self.dtype)


def resize_inputs(model: Model, size: int) -> None:
    """Have a model see its preprocessed images as squares of a side.

    Bilinear, corners not aligned, without antialiasing.

    Args:
        model (nn.Module): A classifier with a ``backbone``.
        size (int): The side in pixels.

    Raises:
        ValueError: If it is a detector, whose boxes would be in other pixels.
    """
    if is_detector(model):
        raise ValueError(
            'teacher input_size is for classifiers: on images that are made '
            f'squares, the boxes of a {type(model).__name__} are in other '
            'pixels. Give its images a resolution of their own in the '
            'pipeline, by TwoResolutions'
        )

    def resize(
        module: nn.Module, inputs: Tuple[Tensor, ...]
    ) -> Tuple[Tensor, ...]:
        images = F.interpolate(inputs[0], (size, size), mode='bilinear')
        return (images, *inputs[1:])

    model.backbone.register_forward_pre_hook(resize)


def fold_norms(model: Model) -> None:
    """Fold the batch norms of backbone and neck into convolutions.

    Args:
        model (nn.Module): Model in evaluation mode, with float32 or float64
            weights; changed in place.

    Raises:
        ValueError: If its features are others afterwards: a network whose
            norms do not follow their convolutions in the order in which both
            are registered, or which shares a convolution between norms.
    """
    weight = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    size = (1, image_channels(model), 64, 64)
    image = torch.rand(size, generator=generator).to(weight)
    with torch.no_grad():
        before = model.extract_feat(image)
        for part in (model.backbone, getattr(model, 'neck', None)):
            if part is not None:
                fuse_conv_bn(part)
        after = model.extract_feat(image)
    for old, new in zip(before, after):
        if not torch.allclose(old, new, rtol=1e-3, atol=1e-3 * old.std()):
            raise ValueError(
                'teacher=dict(fold_norms=True) gives other features than the '
                "teacher's own: its norms cannot be folded in the order of "
                'its layers. Leave fold_norms out'
            )


def same_preprocessing(first: nn.Module, second: nn.Module) -> bool:
    """Whether two data preprocessors turn raw images into the same tensor."""
    return type(first) is type(second) and _facts(first) == _facts(second)


def _facts(preprocessor: Any) -> List[Any]:
    facts: List[Any] = [
        getattr(preprocessor, name, None)
        for name in (
            '_channel_conversion',
            '_enable_normalize',
            'pad_size_divisor',
            'pad_value',
        )
    ]
    for name in ('mean', 'std'):
        buffer = getattr(preprocessor, name, None)
        facts.append(None if buffer is None else buffer.flatten().tolist())
    return facts


def compare_classes(student: List[str], teacher: List[str]) -> None:
    """Raise ValueError if two lists of class names are not the same."""
    if student == teacher:
        return
    if len(student) != len(teacher):
        problem = (
            f'the training set has {len(student)} classes and the '
            f"teacher's checkpoint {len(teacher)}"
        )
    else:
        index = next(
            i for i, (a, b) in enumerate(zip(student, teacher)) if a != b
        )
        problem = (
            f'class {index} is {student[index]!r} in the training set '
            f"and {teacher[index]!r} in the teacher's checkpoint"
        )
        if sorted(student) == sorted(teacher):
            problem += ' (same names, other order)'
    raise ValueError(
        problem + '. Logits are compared class by class. If only the '
        'spelling differs, set teacher=dict(..., check_classes=False). To '
        "compare the shared classes only, set class_map='names' on the "
        'recorder of the logits.'
    )


def teacher_from(config: Union[dict, ConfigDict, Teacher]) -> Teacher:
    """Make a :class:`Teacher` of the ``teacher=`` dict of a config."""
    if isinstance(config, Teacher):
        return config
    if not isinstance(config, dict) or not {'config', 'checkpoint'} <= set(
        config
    ):
        raise ValueError(
            f'teacher must be dict(config=..., checkpoint=...), got {config!r}'
        )
    try:
        check_arguments(Teacher, config, 'teacher')
    except TypeError as error:
        raise ValueError(str(error)) from error
    return Teacher(**config)
