"""Which recorder and losses fit a student and a teacher, as a config."""

import copy
import os
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from mmengine.config import Config
from torch import nn

from mmdet_rankkd.checkpoint.build import build_model, load_config
from mmdet_rankkd.checkpoint.diagnose import first_line
from mmdet_rankkd.checkpoint.read import locate_file
from mmdet_rankkd.checkpoint.write import new_file, refuse_to_overwrite
from mmdet_rankkd.distillers.build import build_part
from mmdet_rankkd.distillers.teacher import Teacher
from mmdet_rankkd.losses.base import did_you_mean

Settings = Dict[str, Any]
RECORDERS = ('RoILogits', 'DenseLogits', 'QueryLogits', 'ClsLogits')
KD = 'mmdet_rankkd.KLDivLoss'
BINARY_KD = 'mmdet_rankkd.BinaryKLDivLoss'
RANK = dict(type='mmdet_rankkd.KendallRankLoss', loss_weight=1.0)


@dataclass(frozen=True)
class Family:
    """Networks that are compared alike.

    Attributes:
        title (str): Title for people.
        default (str): The method, of ``METHODS``, where none is asked for.
        why (str): Why that method; said by the command.
        instead (str): The method where the two networks do not allow the
            default, such as one of features where there is no neck.
    """

    title: str
    default: str
    why: str
    instead: str = 'kd'


#: How far the choice of the default methods has come.
NOT_YET = (
    'KD with the settings of the shipped configs. That is a convention: no '
    'comparison of methods on this family has decided it yet'
)
BOTH_ON_DIGITS = (
    'features by CWD and logits by KD, together, gave Faster R-CNN, RetinaNet '
    'and GFL the most AP on the small set of digits, three seeds each, with '
    'the weights that were published; see docs/methods.md'
)
#: Default method of each family. This table and the next are all that the
#: command chooses by.
FAMILIES: Dict[str, Family] = {
    'two-stage': Family(
        'two-stage detectors', 'cwd+kd', BOTH_ON_DIGITS, instead='dkd'
    ),
    'dense': Family(
        'dense detectors with a sigmoid', 'cwd+kd', BOTH_ON_DIGITS
    ),
    'dense-softmax': Family('dense detectors with a softmax', 'kd', NOT_YET),
    'queries': Family('detectors with queries and a sigmoid', 'kd', NOT_YET),
    'queries-softmax': Family(
        'detectors with queries and a softmax', 'kd', NOT_YET
    ),
    'images': Family('image classifiers', 'kd', NOT_YET),
}
SOFTMAX = ('two-stage', 'dense-softmax', 'queries-softmax')
SIGMOID = ('dense', 'queries')
DETECTORS = (*SOFTMAX, *SIGMOID)
PYRAMIDS = ('two-stage', 'dense', 'dense-softmax')


def _each(families: Sequence[str], *losses: Settings) -> Dict[str, List]:
    return {family: list(losses) for family in families}


#: Losses of each method by the family. A family that is not there cannot be
#: trained so. Settings are published ones or those of the shipped configs, of
#: DKD on two-stage detectors those of our own search on the digits; where a
#: loss has ``levels``, all levels of the neck are meant.
METHODS: Dict[str, Dict[str, List[Settings]]] = {
    'kd': {
        **_each(SOFTMAX, dict(type=KD, temperature=1.0, loss_weight=1.0)),
        **_each(SIGMOID, dict(type=BINARY_KD, loss_weight=1.0)),
        'images': [dict(type=KD, temperature=4.0, loss_weight=0.9)],
    },
    'rank': _each([*FAMILIES], RANK),
    'dkd': {
        'two-stage': [
            dict(type='mmdet_rankkd.DKDLoss', beta=8.0, temperature=3.0)
        ],
        'images': [
            dict(
                type='mmdet_rankkd.DKDLoss',
                alpha=1.0,
                beta=8.0,
                temperature=4.0,
                schedule=dict(warmup=20),
            )
        ],
    },
    'dist': _each(
        ['images'],
        dict(type='mmdet_rankkd.DISTLoss', temperature=4.0, loss_weight=2.0),
    ),
    'nkd': _each(
        ['images'],
        dict(type='mmdet_rankkd.NKDLoss', temperature=3.0, gamma=3.5),
    ),
    'pkd': {
        'two-stage': [
            dict(
                type='mmdet_rankkd.PKDLoss',
                levels=(0, 1, 2, 3),
                loss_weight=6.0,
            )
        ],
        **_each(
            ['dense', 'dense-softmax'],
            dict(
                type='mmdet_rankkd.PKDLoss',
                levels=(0, 1, 2, 3),
                loss_weight=10.0,
            ),
        ),
    },
    'cwd': _each(
        PYRAMIDS, dict(type='mmdet_rankkd.CWDLoss', loss_weight=10.0)
    ),
    'fgd': {
        'two-stage': [
            dict(
                type='mmdet_rankkd.FGDLoss',
                levels=(0, 1, 2, 3),
                foreground_weight=5e-5,
                background_weight=2.5e-5,
                attention_weight=5e-5,
                global_weight=5e-7,
            )
        ],
        **_each(
            ['dense', 'dense-softmax'],
            dict(type='mmdet_rankkd.FGDLoss', levels=None),
        ),
    },
    'mgd': {
        'two-stage': [
            dict(
                type='mmdet_rankkd.MGDLoss',
                levels=(0, 1, 2, 3),
                mask_ratio=0.45,
                loss_weight=5e-7,
            )
        ],
        **_each(
            ['dense', 'dense-softmax'],
            dict(type='mmdet_rankkd.MGDLoss', levels=None, loss_weight=2e-5),
        ),
    },
    'fitnet': {
        **_each(
            PYRAMIDS,
            dict(type='mmdet_rankkd.FitNetLoss', levels=None, loss_weight=1.0),
        ),
        'images': [
            dict(
                type='mmdet_rankkd.FitNetLoss', levels=(2,), loss_weight=100.0
            )
        ],
    },
    'fgfi': {
        'two-stage': [
            dict(
                type='mmdet_rankkd.FGFILoss',
                levels=(0, 1, 2, 3, 4),
                mask_factor=0.5,
                loss_weight=0.01,
                schedule=dict(begin=400, by_epoch=False),
            )
        ],
    },
    # Of dense heads, and of the masks of Mask R-CNN. What is published of
    # CrossKD for FCOS has other weights; they stand in its docstring.
    'bckd': _each(
        ['dense'], dict(type=BINARY_KD, beta=1.0, rows='per_object')
    ),
    'crosskd': _each(
        ['dense'], dict(type='mmdet_rankkd.CrossKDLoss', layer=-1)
    ),
    'ld': _each(['dense'], dict(type='mmdet_rankkd.LDLoss')),
    'maskkd': _each(
        ['two-stage'],
        dict(type=KD, temperature=1.0, loss_weight=1.0),
        dict(type='mmdet_rankkd.MaskKDLoss'),
    ),
    'lskd': _each(
        ['images'],
        dict(type=KD, standardized=True, temperature=2.0, loss_weight=9.0),
    ),
    'ctkd': _each(
        ['images'],
        dict(type='mmdet_rankkd.CTKDLoss', length=10, loss_weight=0.9),
    ),
    'at': _each(
        ['images'], dict(type='mmdet_rankkd.ATLoss', loss_weight=1000.0)
    ),
    'ofd': _each(
        ['images'], dict(type='mmdet_rankkd.OFDLoss', loss_weight=1e-3)
    ),
    'reviewkd': _each(
        PYRAMIDS,
        dict(
            type='mmdet_rankkd.ReviewKDLoss',
            first=0,
            pooled=False,
            max_mid=256,
            loss_weight=2.0,
        ),
    ),
}


@dataclass(frozen=True)
class Recipe:
    """What a distillation config says beside its files.

    Attributes:
        family (str): Family of ``FAMILIES``.
        distiller (str): Type of the model.
        logits (dict): The recorder.
        losses (list[dict]): The losses.
        said (tuple[str]): What was chosen and why, a sentence each.
    """

    family: str
    distiller: str
    logits: Settings
    losses: List[Settings]
    said: Tuple[str, ...]


def choose_recipe(
    student: nn.Module,
    teacher: nn.Module,
    method: Optional[str] = None,
    losses: Sequence[str] = (),
) -> Recipe:
    """Choose recorder and losses for two networks.

    Args:
        student (nn.Module): Student of random weights or others.
        teacher (nn.Module): Likewise.
        method (str, optional): Method of ``METHODS``, or several joined by
            ``+``; the family's by default.
        losses (Sequence[str]): Names of losses in place of a method.

    Raises:
        TypeError: If there is no recorder for the two.
        ValueError: If the two cannot be compared, the method is not known or
            not for this family, or a method and losses are given.
    """
    name, recorder, said = find_recorder(student, teacher)
    family = family_of(name, recorder.sigmoid(student))
    logits = dict(type=f'mmdet_rankkd.{name}')
    if getattr(recorder, 'class_map', None) is not None:
        logits['class_map'] = 'names'
    facts = FAMILIES[family]
    said.append(f'they are {facts.title}')
    if losses and method:
        raise ValueError('give a method or losses, not both')
    if losses:
        chosen = [dict(type=_full_name(x)) for x in losses]
        said.append('losses as asked for, with their default settings')
    else:
        asked = method is not None
        method = method or facts.default
        chosen = losses_of(method, family, student)
        said.append(
            f'method {method}: ' + ('as asked for' if asked else facts.why)
        )
    kind = 'Classifier' if family == 'images' else 'Detector'
    return Recipe(
        family, f'mmdet_rankkd.Distill{kind}', logits, chosen, tuple(said)
    )


def find_recorder(
    student: nn.Module, teacher: nn.Module
) -> Tuple[str, Any, List[str]]:
    """The recorder for two networks: its name, itself, and why.

    Raises:
        TypeError: If there is none for the student, or the teacher is of
            another kind.
        ValueError: If the two cannot be compared.
    """
    for name in RECORDERS:
        recorder = _recorder(name)
        try:
            recorder.check(student, student)
        except TypeError:
            continue
        said = [
            f'{name} compares a {type(student).__name__} with a '
            f'{type(teacher).__name__}'
        ]
        counts = [class_count(m) for m in (student, teacher)]
        if None not in counts and counts[0] != counts[1]:
            if name == 'ClsLogits':
                recorder.check(student, teacher)
            recorder = _recorder(name, class_map='names')
            said.append(
                f'the student has {counts[0]} classes and the teacher '
                f'{counts[1]}, so that those of the same name are compared '
                "(class_map='names')"
            )
        recorder.check(student, teacher)
        return name, recorder, said
    raise TypeError(
        f'there is no recorder for the student, a {type(student).__name__}. '
        'There are recorders for two-stage detectors, RetinaNet, FCOS, ATSS, '
        'GFL, RTMDet, DETR and kin, and image classifiers'
    )


def family_of(recorder: str, sigmoid: Optional[bool]) -> str:
    """Name of a family by the recorder and the kind of the heads."""
    if recorder == 'ClsLogits':
        return 'images'
    if recorder == 'RoILogits':
        return 'two-stage'
    family = 'dense' if recorder == 'DenseLogits' else 'queries'
    return family if sigmoid else f'{family}-softmax'


def losses_of(method: str, family: str, student: nn.Module) -> List[Settings]:
    """Losses of a method, or of several joined by ``+``, for a student.

    Raises:
        ValueError: If there is no such method, or it is not for the family.
    """
    chosen = []
    for name in method.split('+'):
        if name not in METHODS:
            near = did_you_mean(name, [*METHODS])
            raise ValueError(
                f'there is no method {name!r}{near}; there are '
                + ', '.join(METHODS)
                + ", and several joined by '+'"
            )
        if family not in METHODS[name]:
            fitting = [x for x, each in METHODS.items() if family in each]
            raise ValueError(
                f'method {name} is not for {FAMILIES[family].title}; there '
                'are ' + ', '.join(fitting)
            )
        chosen += copy.deepcopy(METHODS[name][family])
    neck: Any = getattr(student, 'neck', None)
    levels: Any = getattr(neck, 'num_outs', None)
    inputs = getattr(neck, 'in_channels', None)
    if levels is None and isinstance(inputs, (list, tuple)):
        levels = len(inputs)  # a level each, as of RTMDet and YOLOX
    for loss in chosen:
        if 'levels' not in loss or family == 'images':
            continue
        wanted = loss['levels']
        if wanted is None and levels is None:
            raise ValueError(
                f'the neck of the student, a {type(neck).__name__}, does not '
                'tell how many levels it has. Name the loss with its levels '
                'in the config'
            )
        if wanted is None:
            loss['levels'] = tuple(range(levels))
        elif levels is not None:
            loss['levels'] = wanted[:levels]
    return chosen


def check_fit(
    recipe: Recipe, student: nn.Module, teacher: nn.Module, files: Teacher
) -> None:
    """Have each loss look at both networks, as a training would at first.

    Args:
        recipe (Recipe): What was chosen.
        student (nn.Module): Student of random weights or others.
        teacher (nn.Module): Likewise.
        files (Teacher): Its config, from which it is built once more for the
            shapes of what is compared.

    Raises:
        KeyError: If a loss is not known.
        TypeError, ValueError: If a loss cannot compare these two.
    """
    distiller = build_part(
        dict(
            type=recipe.distiller,
            student=student,
            teacher=files,
            logits=recipe.logits,
            losses=recipe.losses,
        ),
        'model',
    )
    for recorder in list(distiller.recorders.values())[1:]:
        recorder.check(student, teacher)


def class_count(model: Any) -> Optional[int]:
    """How many classes a network tells apart, if its head says."""
    for name in ('bbox_head', 'head'):
        head = getattr(model, name, None)
        if head is not None:
            return getattr(head, 'num_classes', None)
    head = getattr(getattr(model, 'roi_head', None), 'bbox_head', None)
    if isinstance(head, nn.ModuleList):
        head = head[0]
    return getattr(head, 'num_classes', None)


def _recorder(name: str, **settings: Any) -> Any:
    return build_part(dict(type=f'mmdet_rankkd.{name}', **settings), 'logits')


def _full_name(loss: str) -> str:
    return loss if '.' in loss else f'mmdet_rankkd.{loss}'


def fitting_recipe(
    student: nn.Module,
    teacher: nn.Module,
    files: Teacher,
    method: Optional[str] = None,
    losses: Sequence[str] = (),
) -> Recipe:
    """Choose a recipe that both networks allow.

    Args:
        student (nn.Module): Student of random weights or others.
        teacher (nn.Module): Likewise.
        files (Teacher): Its config; see :func:`check_fit`.
        method (str, optional): As of :func:`choose_recipe`. Without one,
            another takes the place of a default that does not fit.
        losses (Sequence[str]): Likewise.

    Raises:
        KeyError, TypeError, ValueError: See :func:`choose_recipe` and
            :func:`check_fit`.
    """
    recipe = choose_recipe(student, teacher, method, losses)
    family = FAMILIES[recipe.family]
    try:
        check_fit(recipe, student, teacher, files)
        return recipe
    except (TypeError, ValueError) as error:
        if method or losses or family.default == family.instead:
            raise
        why = first_line(str(error))
    recipe = choose_recipe(student, teacher, family.instead)
    check_fit(recipe, student, teacher, files)
    said = (
        f'method {family.instead}, since {family.default}, the default, does '
        f'not fit: {why}'
    )
    return replace(recipe, said=(*recipe.said[:-1], said))


def read_student(path: str) -> Config:
    """Config of a student that may become the base of a distillation.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a distillation itself, or of MMEngine's new
            style, which a text config cannot have as its base.
    """
    cfg = load_config(path, what='student config')
    if 'teacher' in cfg.get('model', {}):
        raise ValueError(
            f'{path} is a distillation already; give the config of the plain '
            'student'
        )
    text = Path(str(cfg.filename)).read_text()
    types = cfg.get('model', {}).get('type')
    if 'read_base' in text or not isinstance(types, str):
        raise ValueError(
            f"{path} is a config of MMEngine's new style, which "
            'cannot be the _base_ of one as text. configs/new_style has a '
            'distillation of that style to copy'
        )
    return cfg


def build_pair(student: Config, teacher: str) -> Tuple[nn.Module, nn.Module]:
    """Build both networks with random weights; nothing is downloaded.

    Args:
        student (Config): Config of the student.
        teacher (str): Config of the teacher, a file or ``package::path``.

    Raises:
        FileNotFoundError: If there is no such teacher.
    """
    return build_model(student), build_model(
        load_config(teacher, what='teacher config')
    )


def config_text(
    recipe: Recipe, student: str, teacher: str, checkpoint: str, folder: Path
) -> str:
    """A distillation config as text.

    Args:
        recipe (Recipe): Recorder and losses.
        student (str): Config of the student, a file or ``package::path``.
        teacher (str): That of the teacher.
        checkpoint (str): Its weights: file, ``package::path`` or address.
        folder (Path): Where the config will be; files are named relative to
            it.
    """
    base, config, weights = (
        relative_to(x, folder) for x in (student, teacher, checkpoint)
    )
    if '::' not in base and not base.startswith('.'):
        base = f'./{base}'
    lines = [
        line
        for sentence in recipe.said
        for line in textwrap.wrap(
            f'{sentence}.', 79, initial_indent='# ', subsequent_indent='#   '
        )
    ]
    lines += [
        f'_base_ = {base!r}',
        'model = dict(',
        '    _delete_=True,',
        f'    type={recipe.distiller!r},',
        '    student=_base_.model,',
        '    teacher=dict(',
        f'        config={config!r},',
        f'        checkpoint={weights!r},',
        '    ),',
        f'    logits={as_call(recipe.logits)},',
        '    losses=[',
        *(f'        {as_call(loss)},' for loss in recipe.losses),
        '    ],',
        ')',
    ]
    return '\n'.join(lines) + '\n'


def as_call(settings: Settings) -> str:
    """A dict as people write it in a config."""
    items = (
        f'{key}={as_call(v) if isinstance(v, dict) else repr(v)}'
        for key, v in settings.items()
    )
    return f'dict({", ".join(items)})'


def relative_to(path: str, folder: Path) -> str:
    """A file by its path from a folder; other names as they are."""
    if '::' in path or '://' in path:
        return path
    return os.path.relpath(Path(path).expanduser().resolve(), folder.resolve())


def write_text(path: Path, text: str, force: bool = False) -> None:
    """Write a new file.

    Raises:
        FileExistsError: If it is there and ``force`` is not set.
    """
    with new_file(path, force) as file:
        file.write(text.encode())


def write_distillation(
    student: str,
    teacher: str,
    checkpoint: str,
    out: Path,
    method: Optional[str] = None,
    losses: Sequence[str] = (),
    force: bool = False,
) -> Recipe:
    """Write the config that distils one network into another.

    Args:
        student (str): Config of the student, a file or ``package::path``.
        teacher (str): That of the teacher.
        checkpoint (str): Weights of the teacher.
        out (Path): File to write.
        method (str, optional): Method of ``METHODS``.
        losses (Sequence[str]): Losses in place of a method.
        force (bool): Overwrite ``out`` if it exists.

    Returns:
        Recipe: What was chosen.

    Raises:
        FileExistsError: If ``out`` exists and ``force`` is not set.
        FileNotFoundError: If one of the files does not exist.
        KeyError, TypeError, ValueError: See :func:`choose_recipe` and
            :func:`read_student`.
    """
    refuse_to_overwrite(out, force)
    locate_file(checkpoint, 'teacher checkpoint')
    pair = build_pair(read_student(student), teacher)
    files = Teacher(teacher, checkpoint)
    recipe = fitting_recipe(*pair, files, method, losses)
    text = config_text(recipe, student, teacher, checkpoint, out.parent)
    write_text(out, text, force)
    return recipe
