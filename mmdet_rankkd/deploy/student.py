"""The student of a checkpoint, and images to try it on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, cast

from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, DefaultScope

from mmdet_rankkd.checkpoint.commands import refuse_commands
from mmdet_rankkd.checkpoint.export import build_student, config_of, halved
from mmdet_rankkd.checkpoint.load import StateDict, load_weights
from mmdet_rankkd.checkpoint.read import (
    PathLike,
    checkpoint_classes,
    read_checkpoint,
)
from mmdet_rankkd.checkpoint.student import student_weights
from mmdet_rankkd.engine.launch import innermost_config
from mmdet_rankkd.models import ImageClassifier

#: Transforms of a test pipeline that leave the pixels as they are.
ANNOTATIONS = ('LoadAnnotations', 'PackDetInputs')


@dataclass(frozen=True)
class Student:
    """The student of a training checkpoint.

    Attributes:
        model (BaseModel): Model in eval mode, in float32.
        config (Config): That of the plain student.
        weights (dict): Weights to ship; those of the model, perhaps in
            float16.
        classes (list[str]): Names of the classes, if the file knows them.
    """

    model: BaseModel
    config: Config
    weights: StateDict
    classes: List[str]

    @property
    def is_classifier(self) -> bool:
        """Whether it is of images and not of boxes."""
        return isinstance(self.model, ImageClassifier)

    @property
    def test_set(self) -> ConfigDict:
        """Config of its test set, or of its validation set.

        Raises:
            ValueError: If it has none.
        """
        for name in ('test_dataloader', 'val_dataloader'):
            loader = self.config.get(name)
            if loader is not None:
                return innermost_config(loader.dataset)
        raise ValueError(
            "the student's config has no test set, so that nothing says how "
            'images are prepared'
        )


@dataclass(frozen=True)
class Sample:
    """An image as the test pipeline gives it.

    Attributes:
        data (dict): A batch of one, for ``model.test_step``.
        file (str, optional): Where it is from.
    """

    data: Dict[str, Any]
    file: Optional[str]


def read_student(
    checkpoint: PathLike, half: bool = False, trust: bool = False
) -> Student:
    """Read a training checkpoint, and build the student in it.

    Args:
        checkpoint (str or Path): As for :func:`export_student`.
        half (bool): Round the weights to float16.
        trust (bool): Execute pickled code in the checkpoint.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it cannot be read, or does not say of which config its
            student is.
    """
    loaded = read_checkpoint(checkpoint, trust)
    weights, _ = student_weights(loaded['state_dict'])
    config, said = config_of(loaded)
    if config is None:
        raise ValueError(
            f'{checkpoint} does not say of which config its student is '
            f'({said}), so that there is nothing to build. Checkpoints that '
            'are written in training say it'
        )
    model = cast(BaseModel, build_student(config))
    weights = halved(weights) if half else weights
    load_weights(model, weights, str(checkpoint))
    classes = checkpoint_classes(loaded) or []
    return Student(model.eval(), config, weights, classes)


def find_samples(
    student: Student, files: Sequence[str] = (), count: int = 4
) -> List[Sample]:
    """Images, through the student's own test pipeline.

    Args:
        student (Student): Student with a ``test_dataloader`` (or
            ``val_dataloader``) in its config.
        files (Sequence[str]): Images; by default the first of the test set.
        count (int): How many of the test set.

    Raises:
        ValueError: If there are no images, or they cannot be read.
    """
    test_set = student.test_set
    refuse_commands(dict(test_set))
    scope = student.config.get('default_scope') or 'mmdet'
    with DefaultScope.overwrite_default_scope(scope):
        if student.is_classifier and files:
            raise ValueError(
                'images of a classifier are taken from its test set, not '
                'from files'
            )
        if files:
            return _from_files(test_set.pipeline, files)
        try:
            dataset = DATASETS.build(test_set)
            chosen = range(min(count, len(dataset)))
            if student.is_classifier:
                return [
                    Sample(pseudo_collate([dataset[i]]), None) for i in chosen
                ]
            named = [dataset.get_data_info(i)['img_path'] for i in chosen]
        except (OSError, ValueError) as error:
            raise ValueError(
                f'the test set of the config cannot be read ({error}). Run '
                'this in the folder of the training, or name images with '
                '--images'
            ) from error
        return _from_files(test_set.pipeline, named)


def _from_files(pipeline: List[dict], files: Sequence[str]) -> List[Sample]:
    run = Compose(pipeline)
    missing = [x for x in files if not Path(x).is_file()]
    if missing:
        raise ValueError(f'there is no image {missing[0]}')
    return [
        Sample(pseudo_collate([run(dict(img_path=x, img_id=0))]), str(x))
        for x in files
    ]


def preprocessing(student: Student) -> Dict[str, Any]:
    """How a detector's images are prepared, for :func:`runtime.prepare`.

    Raises:
        TypeError: If the test pipeline or the data preprocessor does
            something that is not known here; the message names it.
    """
    settings: Dict[str, Any] = dict(resize=None, pad=None)
    for step in student.test_set.pipeline:
        name = step['type'].rpartition('.')[2]
        if name == 'Resize' and set(step) <= {'type', 'scale', 'keep_ratio'}:
            settings['resize'] = dict(
                scale=list(step['scale']),
                keep_ratio=bool(step.get('keep_ratio', False)),
            )
        elif name == 'Pad' and set(step) <= {'type', 'size', 'pad_val'}:
            value = step.get('pad_val', 0)
            if isinstance(value, dict):
                value = value.get('img', 0)
            settings['pad'] = dict(size=list(step['size']), value=value)
        elif name == 'LoadImageFromFile':
            _only_plain(step)
        elif name not in ANNOTATIONS:
            raise TypeError(
                f'the test pipeline has {dict(step)}, which is not known to '
                'the code that prepares images for ONNX Runtime'
            )
    return {**settings, **_normalisation(student.model.data_preprocessor)}


def _only_plain(step: Dict[str, Any]) -> None:
    """Refuse loading that gives other pixels than ``cv2.imread``."""
    other = {
        key: value
        for key, value in step.items()
        if key not in ('type', '_scope_', 'backend_args')
    }
    if other:
        raise TypeError(
            f'the test pipeline loads images with {other}, which is not known '
            'to the code that prepares images for ONNX Runtime'
        )


def _normalisation(preprocessor: Any) -> Dict[str, Any]:
    flip = preprocessor._channel_conversion
    mean: Optional[List[float]] = None
    std: Optional[List[float]] = None
    if preprocessor._enable_normalize:
        mean = preprocessor.mean.flatten().tolist()
        std = preprocessor.std.flatten().tolist()
    return dict(
        normalise=dict(mean=mean, std=std, rgb=bool(flip)),
        divisor=preprocessor.pad_size_divisor,
        pad_value=preprocessor.pad_value,
    )
