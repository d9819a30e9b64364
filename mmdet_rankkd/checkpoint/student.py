"""What of a training's weights and config is the plain student's."""

import inspect
from typing import Dict, Iterator, List, Mapping, Optional, Tuple, cast

from mmengine.config import Config
from mmengine.runner import Runner

from mmdet_rankkd.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS

from .load import (
    DISTILLER_PREFIX,
    StateDict,
    first_few,
    not_tensors,
    strip_prefix,
)

PACKAGE = __name__.partition('.')[0]
REGISTRIES = (DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS)
#: Networks of this package whose weights another package's take as they are.
STANDS_FOR = {'mmdet_rankkd.MobileNetV2': 'MobileNetV2'}
#: In its place MMEngine's own is exported, which has the same arguments.
CHECKPOINT_HOOK = 'AtomicCheckpointHook'
#: Transforms of both networks' images, and which of their arguments are the
#: student's alone.
OF_BOTH = {'TwoResolutions': 'pipeline', 'TwoViews': 'weak'}
#: Data sets that wrap the student's for a loss.
WRAPPER = 'ContrastDataset'
#: Top-level entries of a config that training, tests and inference read.
READ = {
    *inspect.signature(Runner.__init__).parameters,
    'tta_model',
    'tta_pipeline',
}


def student_weights(
    state_dict: StateDict,
) -> Tuple[StateDict, Dict[str, int]]:
    """Split a state dict into the student's weights and the rest.

    Takes checkpoints of this package, which have the student's keys already,
    and those of MMRazor's distillation algorithms, whose student is under
    ``architecture.``.

    Returns:
        tuple[dict, dict]: Weights by plain key; number of dropped entries by
        their first word.

    Raises:
        ValueError: If there is no student in it, or something that is not a
            tensor.
    """
    others = not_tensors(state_dict)
    if others:
        raise ValueError(
            f'the checkpoint has entries that are no tensors: '
            f'{first_few(others)}. Files of other projects are converted by '
            '`rankkd convert`.'
        )
    is_mmrazor = any(k.startswith('architecture.') for k in state_dict)
    if is_mmrazor:
        weights = strip_prefix(state_dict, 'architecture.')
        # MMRazor keeps the data preprocessor's statistics as weights.
        weights = {
            k: v
            for k, v in weights.items()
            if not k.startswith('data_preprocessor.')
        }
    else:
        weights = {
            k: v
            for k, v in state_dict.items()
            if not k.startswith(DISTILLER_PREFIX)
        }
    dropped: Dict[str, int] = {}
    kept = {f'architecture.{k}' if is_mmrazor else k for k in weights}
    for key in state_dict:
        if key not in kept:
            word = key.split('.')[0]
            dropped[word] = dropped.get(word, 0) + 1
    if not weights:
        raise ValueError('the checkpoint holds no weights of a student')
    return weights, dropped


def student_config(config: Config) -> Config:
    """Make the plain student's config of a distillation config.

    All types in it are names, those of a new-style config too. What a
    distillation alone asks of its data goes: the teacher's resolution, the
    strong view, negatives. So it can be read, built, trained and tested
    without this package, unless the student or its data are made of types of
    this package (networks, data sets, transforms), which
    :func:`package_types` lists.

    Args:
        config (Config): Config of the training. If there is no distiller in
            it, it loses hooks and imports of this package and nothing else.
    """
    values = cast(
        dict, _with_names(config.to_dict(), config.get('default_scope'))
    )
    model = values['model']
    if 'student' in model and 'teacher' in model:
        student = model['student']
        if model.get('data_preprocessor') is not None:
            student.setdefault('data_preprocessor', model['data_preprocessor'])
        values = cast(dict, _students_data(values))
        values['model'] = student
    values.pop('teacher', None)
    for key, value in list(values.items()):
        if key not in READ and package_types(value):
            del values[key]  # such as a list of losses with a name of its own
    values['custom_hooks'] = [
        x for x in values.get('custom_hooks') or [] if not _package_type(x)
    ]
    if values.get('default_hooks'):
        hooks = values['default_hooks']
        if _package_kind(hooks.get('checkpoint')) == CHECKPOINT_HOOK:
            hooks['checkpoint']['type'] = 'CheckpointHook'
        values['default_hooks'] = {
            key: hook for key, hook in hooks.items() if not _package_type(hook)
        }
    if values.get('custom_imports'):
        _drop_imports(values)
    return Config(values)


def _students_data(value: object) -> object:
    """Copy a part of a config, with the student's own data in it."""
    if isinstance(value, (list, tuple)):
        found: List[object] = []
        for x in value:
            own = OF_BOTH.get(_package_kind(x))
            if own is None:
                found.append(_students_data(x))
            else:
                found += cast(list, _students_data(x[own]))
        return type(value)(found)
    if not isinstance(value, dict):
        return value
    if _package_kind(value) == WRAPPER:
        return _students_data(value['dataset'])
    return {k: _students_data(v) for k, v in value.items()}


def without_stand_ins(value: object) -> object:
    """Copy a part of a config, with what is in ``STANDS_FOR`` replaced."""
    if isinstance(value, (list, tuple)):
        return type(value)(without_stand_ins(x) for x in value)
    if not isinstance(value, dict):
        return value
    result = {k: without_stand_ins(v) for k, v in value.items()}
    name = _package_type(result)
    if name is not None:
        result['type'] = STANDS_FOR.get(
            f'{PACKAGE}.{name.rpartition(".")[2]}', name
        )
    return result


def package_types(value: object) -> List[str]:
    """List the types of this package in a part of a config.

    Args:
        value (object): A part of a config, with names in place of classes.

    Returns:
        list[str]: Their names, sorted.
    """
    return sorted(set(_package_types(value)))


def _package_types(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        name = _package_type(value)
        if name is not None:
            yield name
        for inner in value.values():
            yield from _package_types(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _package_types(inner)


def _package_type(entry: object) -> Optional[str]:
    """Return the type of an entry of a config if it is of this package."""
    name = entry.get('type') if isinstance(entry, dict) else None
    return name if isinstance(name, str) and _in_package(name) else None


def _package_kind(entry: object) -> str:
    """Return the last word of :func:`_package_type`, or nothing."""
    return (_package_type(entry) or '').rpartition('.')[2]


def _in_package(name: str) -> bool:
    return name == PACKAGE or name.startswith(PACKAGE + '.')


def _with_names(value: object, scope: Optional[str] = None) -> object:
    """Copy a part of a config, with names in place of classes.

    Entries may have the scope of this package, as MMEngine by itself leaves
    it in all that a base of ``mmdet_rankkd::`` defines. It becomes a prefix
    where a type is of this package, and is dropped where it is not, since the
    type is found without it.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(_with_names(x, scope) for x in value)
    if not isinstance(value, dict):
        return _name_of(value)
    scope = value.get('_scope_') or scope
    result = {
        k: _with_names(v, scope)
        for k, v in value.items()
        if k != '_scope_' or v != PACKAGE
    }
    name = result.get('type')
    if scope == PACKAGE and isinstance(name, str) and '.' not in name:
        for registry in REGISTRIES:
            registry.import_from_location()
            if name in registry.module_dict:
                result['type'] = f'{PACKAGE}.{name}'
    # MMDetection knows RoI layers, NMS and (3.3.0) the loader of images by
    # these names alone.
    for key in ('nms', 'roi_layer'):
        _shorten(result.get(key), 'mmcv.ops.')
    _shorten(result, 'mmcv.transforms.')
    return result


def _shorten(entry: object, package: str) -> None:
    if isinstance(entry, dict) and str(entry.get('type')).startswith(package):
        entry['type'] = entry['type'].rpartition('.')[2]


def _name_of(value: object) -> object:
    """Return where a class or function is found, or else the value."""
    name = getattr(value, '__qualname__', None)
    return value if name is None else f'{value.__module__}.{name}'


def _drop_imports(values: Dict[str, object]) -> None:
    imports = cast(Mapping, values['custom_imports'])
    names = imports.get('imports') or []
    names = [names] if isinstance(names, str) else names
    kept = [x for x in names if not _in_package(x)]
    if kept:
        values['custom_imports'] = dict(imports, imports=kept)
    else:
        del values['custom_imports']
