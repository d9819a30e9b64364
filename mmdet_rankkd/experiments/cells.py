"""Configs of single trainings: a pair of networks and a method.

Pairs, methods and what they want of each other are facts of a set of cells,
a file in ``configs/_base_/cells``; this module makes a config of two of them.
"""

import ast
import copy
import hashlib
import inspect
import re
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, TypeVar, Union

from mmengine.config import Config
from mmengine.runner import Runner

import mmdet_rankkd
from mmdet_rankkd.checkpoint.build import config_errors
from mmdet_rankkd.checkpoint.read import locate_file

from .metrics import TASKS, Task

CONFIGS = Path(mmdet_rankkd.__file__).parent / '.mim/configs'
CELLS = CONFIGS / '_base_/cells'
RANK = 'mmdet_rankkd.KendallRankLoss'
#: The method of a row that shows the teacher, which is tested, not trained.
TEACHER = 'teacher'
LONGEST_NAME = 120
#: Settings of a config, whose values may be anything.
Settings = Dict[str, Any]
#: Arguments of losses, by the name of their class.
LossSettings = Dict[str, Settings]
Value = TypeVar('Value')
Facts = TypeVar('Facts')


def choose(what: str, name: str, among: Mapping[str, Value]) -> Value:
    """An entry by its name.

    Raises:
        ValueError: If there is none; the message has the names that there
            are.
    """
    if name not in among:
        raise ValueError(
            f'there is no {what} {name!r}; there are ' + ', '.join(among)
        )
    return among[name]


def from_facts(
    kind: type[Facts], facts: Settings, where: str, **made: object
) -> Facts:
    """A dataclass of the entries of a file.

    Args:
        kind (type): The dataclass.
        facts (dict): The entries.
        where (str): What is said of the file in messages.
        **made: Fields that are no entries of the file.

    Raises:
        ValueError: If an entry is missing or is none of the dataclass.
    """
    known = [
        f
        for f in fields(kind)  # type: ignore[arg-type]
        if f.name not in made
    ]
    needed = {
        f.name
        for f in known
        if f.default is MISSING and f.default_factory is MISSING
    }
    lacking = sorted(needed - set(facts))
    if lacking:
        raise ValueError(f'{where} lacks {", ".join(lacking)}')
    unknown = sorted(set(facts) - {f.name for f in known})
    if unknown:
        raise ValueError(
            f'{where} has {", ".join(map(repr, unknown))}, which nothing '
            'reads; there are ' + ', '.join(f.name for f in known)
        )
    return kind(**facts, **made)


@dataclass
class Method:
    """How a student is trained.

    Attributes:
        losses (list): Configs of the distillation losses.
        ce (float): Weight of the student's own classification loss.
        two_views (bool): Whether it needs a weak and a strong view.
        contrast (bool): Whether it needs negatives of a ``ContrastDataset``.
        lr (float, optional): Learning rate in place of the student's.
        max_epochs (int, optional): Epochs in place of the student's.
        clip_grad (float, optional): Norm that gradients are clipped to.
        only (list[str], optional): Pairs that it applies to; all by default.
    """

    losses: List[Settings]
    ce: float = 1.0
    two_views: bool = False
    contrast: bool = False
    lr: Optional[float] = None
    max_epochs: Optional[int] = None
    clip_grad: Optional[float] = None
    only: Optional[List[str]] = None


PAIR_FACTS = ('teacher', 'logits', 'options')
METHOD_FIELDS = {f.name for f in fields(Method)}


@dataclass(frozen=True)
class CellSet:
    """Networks and methods that can be put together.

    ``{}`` in a path stands for the name of the student or of the teacher.

    Attributes:
        name (str): Name of its file.
        task (str): Task of ``TASKS``.
        student (str): Config of the student that trains alone.
        teacher (dict): Arguments of the teacher.
        methods (dict): Fields of a :class:`Method` by its name.
        pairs (dict): ``'<teacher>_<student>'``, or one name for both, and
            what the pair wants otherwise: ``teacher``, ``logits``,
            ``options``, and fields of a method or arguments of its first
            loss under the method's name.
        rank (dict): Arguments of the ranking loss by the method that it is
            added to.
        logits (dict, optional): The recorder of the logits.
        features (dict, optional): Arguments of the recorder of features.
        tau (dict, optional): Arguments of a ``TauHook`` beside the teacher.
        options (dict): Settings of every config, such as
            ``{'train_dataloader.batch_size': 32}``.
        train_teachers (bool): Train a teacher whose checkpoint is missing.
        make_digits (str, optional): Root of the digits set, which is made if
            it is missing.
    """

    name: str
    task: str
    student: str
    teacher: Settings
    methods: Dict[str, Settings]
    pairs: Dict[str, Settings]
    rank: Dict[str, Settings] = field(default_factory=dict)
    logits: Optional[Settings] = None
    features: Optional[Settings] = None
    tau: Optional[Settings] = None
    options: Settings = field(default_factory=dict)
    train_teachers: bool = False
    make_digits: Optional[str] = None

    @property
    def kind(self) -> Task:
        """The task's facts."""
        return choose('task', self.task, TASKS)

    def method(self, pair: str, name: str) -> Method:
        """A method, or several in one training, as a pair wants them.

        Args:
            pair (str): One of ``pairs``.
            name (str): One of ``methods``, or several joined by ``+``, as
                ``'pkd+kd'``. A last ``+rank`` adds the ranking loss with its
                weight beside the first of them.

        Raises:
            ValueError: If there is no such pair or method, one does not apply
                to the pair, or one that is not the first wants more than its
                losses, such as another learning rate.
        """
        base, *others = name.split('+')
        found = self._method(pair, base)
        for other in others:
            if other == 'rank':
                found.losses.append(dict(type=RANK, **self._rank_beside(base)))
                continue
            added = self._method(pair, other)
            if replace(added, losses=[], only=None) != Method([]):
                raise ValueError(
                    f'{name!r}: method {other!r} wants more of a training '
                    'than its losses, so that it can only come first'
                )
            found.losses += added.losses
        return found

    def _rank_beside(self, method: str) -> Settings:
        """Arguments of the ranking loss that is added to a method."""
        what = (
            f'entry in rank of configs/_base_/cells/{self.name}.py, which '
            'says with which weight ranking is added to the method'
        )
        return choose(what, method, self.rank)

    def _method(self, pair: str, base: str) -> Method:
        wanted = choose('pair', pair, self.pairs)
        facts = copy.deepcopy(choose('method', base, self.methods))
        for key, value in wanted.get(base, {}).items():
            place = facts if key in METHOD_FIELDS else facts['losses'][0]
            place[key] = copy.deepcopy(value)
        found = from_facts(Method, facts, f'method {base!r} of {self.name}')
        if found.only is not None and pair not in found.only:
            raise ValueError(
                f'method {base!r} does not apply to {pair}, but to '
                + ', '.join(found.only)
            )
        return found

    def teacher_of(self, pair: str) -> Settings:
        """Arguments of the teacher of a pair."""
        name = pair_names(pair)[0]
        wanted = choose('pair', pair, self.pairs).get('teacher', {})
        return {
            key: value.format(name) if isinstance(value, str) else value
            for key, value in {**self.teacher, **wanted}.items()
        }

    def student_of(self, pair: str) -> Config:
        """Config of the student of a pair that trains alone."""
        return read_config(self.student.format(pair_names(pair)[1]))

    def logits_of(self, pair: str) -> Optional[Settings]:
        """Recorder of the logits of a pair, if it is not the wrapper's own."""
        return choose('pair', pair, self.pairs).get('logits', self.logits)


def cell_sets() -> List[str]:
    """Names of the sets of cells."""
    return sorted(p.stem for p in CELLS.glob('*.py'))


def read_cells(name: str) -> CellSet:
    """Read a set of cells, given by its name or as a file.

    Raises:
        ValueError: If there is no such set, or an entry is missing or
            unknown.
    """
    file = Path(name)
    if file.suffix != '.py' or not file.is_file():
        choose('set of cells', name, dict.fromkeys(cell_sets()))
        file = CELLS / f'{name}.py'
    found = from_facts(CellSet, read_facts(file), str(file), name=file.stem)
    try:
        choose('task', found.task, TASKS)
        for wanted in found.pairs.values():
            for key in set(wanted) - set(PAIR_FACTS):
                choose('method', key, found.methods)
    except ValueError as error:
        raise ValueError(f'{file}: {error}') from error
    return found


def read_facts(file: Path) -> Settings:
    """Entries of a Python config, without those that begin with ``_``.

    Raises:
        ValueError: If it cannot be read.
    """
    with config_errors(str(file)):
        facts = Config.fromfile(file).to_dict()
    return {k: v for k, v in facts.items() if not k.startswith('_')}


def pair_names(pair: str) -> Tuple[str, str]:
    """Names of teacher and student in the name of a pair."""
    teacher, underscore, student = pair.partition('_')
    return teacher, student if underscore else teacher


def read_config(name: str) -> Config:
    """Read a config given as a file or as ``package::path``.

    Raises:
        FileNotFoundError: If it does not exist.
    """
    return copy.deepcopy(_read_config(locate_file(name, 'config')))


@cache
def _read_config(file: str) -> Config:
    return Config.fromfile(file)


def set_losses(losses: List[Settings], settings: LossSettings) -> None:
    """Set arguments of losses, which are named by their class.

    Raises:
        ValueError: If none of the losses is of that class.
    """
    for name, arguments in settings.items():
        matching = [x for x in losses if x['type'].split('.')[-1] == name]
        if not matching:
            have = ', '.join(x['type'].split('.')[-1] for x in losses)
            raise ValueError(
                f'the method has no {name} to set {arguments} of, only '
                f'{have or "no loss"}'
            )
        for loss in matching:
            loss.update(copy.deepcopy(arguments))


def merge_options(cfg: Config, options: Settings) -> None:
    """Set keys of a config, such as ``'model.losses.0.temperature'``.

    Raises:
        ValueError: If a key begins with a name that neither the config nor
            MMEngine's Runner has, or with the number of an item that a list
            does not have.
    """
    # The Runner reads `compile` of the whole config.
    known = {'compile', *inspect.signature(Runner.__init__).parameters, *cfg}
    for key in options:
        if key.split('.')[0] not in known:
            raise ValueError(
                f'option {key!r} sets nothing: the config has no '
                f'{key.split(".")[0]!r}'
            )
    try:
        cfg.merge_from_dict(copy.deepcopy(options))
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'options {options} do not fit the config: {error}'
        ) from error


def compose(
    cells: CellSet,
    pair: str,
    method: str,
    losses: Optional[LossSettings] = None,
    options: Optional[Settings] = None,
) -> Config:
    """Config of one training, but for its seed.

    It names the files of this package as ``mmdet_rankkd::path`` and those of
    the user relative to the current folder, so that it can be moved.

    Args:
        cells (CellSet): Cells of :func:`read_cells`.
        pair (str): One of its pairs.
        method (str): ``'alone'``, ``'kd'``, ``'kd+rank'``, ``'pkd+kd'``, ...
        losses (dict, optional): Arguments of losses by their class.
        options (dict, optional): Any other settings, by their keys.

    Raises:
        ValueError: If an argument names nothing that there is.
    """
    found = cells.method(pair, method)
    set_losses(found.losses, losses or {})
    cfg = cells.student_of(pair)
    merge_options(cfg, cells.options)
    merge_options(cfg, cells.pairs[pair].get('options', {}))
    teacher, logits = cells.teacher_of(pair), cells.logits_of(pair)
    if cells.tau is not None:
        tau = dict(type='mmdet_rankkd.TauHook', teacher=teacher, **cells.tau)
        cfg.custom_hooks = [dict(tau, logits=logits) if logits else tau]
    if found.ce != 1.0:
        cfg.model.head.loss = dict(
            type='mmdet.CrossEntropyLoss', loss_weight=found.ce
        )
    if found.losses:
        recorders = dict(logits=logits, features=cells.features)
        cfg.model = dict(
            type=cells.kind.wrapper,
            student=cfg.model,
            teacher=teacher,
            losses=found.losses,
            **{k: x for k, x in recorders.items() if x is not None},
        )
    if found.two_views:
        cfg.train_dataloader.dataset.pipeline = cfg.two_views_pipeline
    if found.contrast:
        cfg.train_dataloader.dataset = dict(
            type='mmdet_rankkd.ContrastDataset',
            dataset=cfg.train_dataloader.dataset,
        )
    if found.lr is not None:
        cfg.optim_wrapper.optimizer.lr = found.lr
    if found.clip_grad is not None:
        cfg.optim_wrapper.clip_grad = dict(max_norm=found.clip_grad)
    if found.max_epochs is not None:
        cfg.train_cfg.max_epochs = found.max_epochs
    merge_options(cfg, options or {})
    return cfg


def cell_name(
    pair: str,
    method: str,
    losses: Optional[LossSettings] = None,
    options: Optional[Settings] = None,
) -> str:
    """A file name for a cell, without a suffix.

    Where the settings do not fit into one, it ends in a digest of them.
    """
    parts = [method.replace('+', '-'), pair]
    for loss, arguments in (losses or {}).items():
        parts += [f'{loss}-{k}-{v}' for k, v in arguments.items()]
    parts += [f'{k}-{v}' for k, v in (options or {}).items()]
    text = '_'.join(parts).replace('.', 'p')
    name = re.sub(r'[^\w-]+', '-', text)[:LONGEST_NAME]
    if name != text:
        name += '-' + hashlib.sha256(text.encode()).hexdigest()[:8]
    return name


def parse_losses(items: List[str]) -> LossSettings:
    """``['KendallRankLoss.k=2']`` to ``{'KendallRankLoss': {'k': 2}}``.

    Raises:
        ValueError: If an item is not of that form.
    """
    result: LossSettings = {}
    for item in items:
        key, equals, value = item.partition('=')
        loss, dot, name = key.partition('.')
        if not (equals and dot and loss and name):
            raise ValueError(f'expected LOSS.KEY=VALUE, got {item!r}')
        try:
            parsed = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed = value
        result.setdefault(loss, {})[name] = parsed
    return result


def write_config(path: Union[str, Path], cfg: Config) -> Path:
    """Write a config unless the same is there.

    Raises:
        FileExistsError: If another config is there.
    """
    path = Path(path)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        cfg.dump(path)
    elif Config.fromfile(path).to_dict() != cfg.to_dict():
        raise FileExistsError(
            f'{path} exists and is another config; move it away or give '
            'another name with --out'
        )
    return path
