"""From a training checkpoint to a file of the plain student."""

import ast
import hashlib
import inspect
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from torch import nn

from mmdet_rankkd.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS

from .checkpoint import (
    DISTILLER_PREFIX,
    checkpoint_classes,
    first_few,
    first_line,
    read_checkpoint,
    strip_prefix,
)

PathLike = Union[str, Path]
PACKAGE = __name__.partition('.')[0]
REGISTRIES = (DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS)
#: Top-level entries of a config that training, tests and inference read.
READ = {
    *inspect.signature(Runner.__init__).parameters,
    'tta_model',
    'tta_pipeline',
}


def student_weights(
    state_dict: Dict[str, Any],
) -> Tuple[Dict[str, Any], Dict[str, int]]:
    """The student's weights of a state dict, and what was left out.

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
    others = [k for k, v in state_dict.items() if not torch.is_tensor(v)]
    if others:
        raise ValueError(
            f'the checkpoint has entries that are no tensors: '
            f'{first_few(others)}. Files of other projects are read by '
            'tools/convert_checkpoint.py.'
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
    """The plain student's config of a distillation config.

    Its types are names, those of a new-style config too. It can be read,
    built, trained and tested without this package, unless it names types of
    this package (networks, data sets, transforms): :func:`package_types`
    lists them.

    Args:
        config (Config): Of the training. One without a distiller loses
            nothing but hooks and imports of this package.
    """
    values = _names(config.to_dict(), config.get('default_scope'))
    model = values['model']
    if 'student' in model and 'teacher' in model:
        student = model['student']
        if model.get('data_preprocessor') is not None:
            student.setdefault('data_preprocessor', model['data_preprocessor'])
        values['model'] = student
    values.pop('teacher', None)
    for key, value in list(values.items()):
        if key not in READ and package_types(value):
            del values[key]  # such as a list of losses with a name of its own
    values['custom_hooks'] = [
        x for x in values.get('custom_hooks') or [] if not _is_ours(x)
    ]
    hooks = values.get('default_hooks') or {}
    if hooks:
        values['default_hooks'] = {
            k: v for k, v in hooks.items() if not _is_ours(v)
        }
    _drop_imports(values)
    return Config(values)


def package_types(value: Any) -> List[str]:
    """Names of the types of this package in a part of a config, sorted."""
    return sorted(set(_package_types(value)))


def _package_types(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if _is_ours(value):
            yield value['type']
        for inner in value.values():
            yield from _package_types(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _package_types(inner)


def _is_ours(entry: Any) -> bool:
    """Whether an entry of a config, with names for types, is built of ours."""
    name = entry.get('type') if isinstance(entry, dict) else None
    return isinstance(name, str) and _in_package(name)


def _in_package(name: str) -> bool:
    return name == PACKAGE or name.startswith(PACKAGE + '.')


def _names(value: Any, scope: Optional[str] = None) -> Any:
    """A part of a config with names in place of classes and of our scope.

    A base of ``mmdet_rankkd::`` leaves its scope in the entries that it
    defines. It is written as a prefix where a type is of this package, and
    dropped where it is not, since the type is found without it.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(_names(x, scope) for x in value)
    if not isinstance(value, dict):
        return _name(value) if callable(value) else value
    scope = value.get('_scope_') or scope
    result = {
        k: _names(v, scope)
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
        if isinstance(result.get(key), dict):
            _shorten(result[key], 'mmcv.ops.')
    _shorten(result, 'mmcv.transforms.')
    return result


def _shorten(entry: Dict[str, Any], package: str) -> None:
    if str(entry.get('type')).startswith(package):
        entry['type'] = entry['type'].rpartition('.')[2]


def _name(value: Any) -> Any:
    """Of a class or function, where it is found; else the value itself."""
    name = getattr(value, '__qualname__', None)
    return value if name is None else f'{value.__module__}.{name}'


def _drop_imports(values: Dict[str, Any]) -> None:
    imports = values.get('custom_imports')
    if not imports:
        return
    names = imports.get('imports') or []
    names = [names] if isinstance(names, str) else names
    kept = [x for x in names if not _in_package(x)]
    if kept:
        values['custom_imports'] = dict(imports, imports=kept)
    else:
        del values['custom_imports']


def export_student(
    checkpoint: PathLike,
    out: PathLike,
    half: bool = False,
    force: bool = False,
    trust: bool = False,
) -> Dict[str, Any]:
    """Write the student of a training checkpoint to a file of its own.

    The file holds ``state_dict`` and ``meta`` (class names and, where the
    checkpoint knew its config, the plain student's), and no optimizer,
    scheduler or parameters of the distiller. The config is read as text; no
    code in it is executed.

    Args:
        checkpoint (str): Training checkpoint of this package or of MMRazor.
        out (str): File to write.
        half (bool): Store floating point weights in float16.
        force (bool): Overwrite ``out`` if it exists.
        trust (bool): Execute pickled code in the checkpoint.

    Returns:
        dict: ``weights`` (the number of tensors), ``parameters`` of the
        student or, where its config is not known, ``values`` in all tensors;
        ``config`` (whether there is one), ``needs`` (types of this package
        in it, without which it cannot be built), ``dropped``,
        ``bytes_before``, ``bytes_after``, ``sha256``.

    Raises:
        FileExistsError: If ``out`` exists and ``force`` is not set.
        ValueError: If the checkpoint cannot be read, its student cannot be
            built, or its weights are not those of the student in its config.
    """
    out = Path(out)
    if out.exists() and not force:
        raise FileExistsError(
            f'{out} exists; give another name, or overwrite it with --force'
        )
    loaded = read_checkpoint(checkpoint, trust)
    weights, dropped = student_weights(loaded['state_dict'])
    facts: Dict[str, Any] = dict(weights=len(weights))
    meta: Dict[str, Any] = {}
    classes = checkpoint_classes(loaded)
    if classes:
        meta['dataset_meta'] = dict(classes=tuple(classes))
    config, facts['config'] = _config_of(loaded)
    if config is None:
        facts['values'] = sum(v.numel() for v in weights.values())
    else:
        model = _build(config)
        _check_keys(model, weights)
        meta['cfg'] = config.pretty_text
        facts['parameters'] = sum(p.numel() for p in model.parameters())
        facts['needs'] = package_types(config.to_dict())
    if half:
        weights = {
            k: v.half() if v.is_floating_point() else v
            for k, v in weights.items()
        }
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=weights, meta=meta), out)
    source = Path(checkpoint)
    return dict(
        facts,
        dropped=dropped,
        bytes_before=source.stat().st_size if source.is_file() else None,
        bytes_after=out.stat().st_size,
        sha256=hashlib.sha256(out.read_bytes()).hexdigest(),
    )


def _config_of(loaded: Dict[str, Any]) -> Tuple[Optional[Config], str]:
    """The plain student's config, if there is one, and what to say of it."""
    text = (loaded.get('meta') or {}).get('cfg')
    if not isinstance(text, str):
        return None, 'none in the checkpoint'
    try:
        values = read_config_text(text)
    except (SyntaxError, ValueError) as error:
        return None, f'left out, as it cannot be read: {error}'
    if not isinstance(values.get('model'), dict):
        return None, 'left out, as it has no model'
    if 'architecture' in values['model']:
        return None, "left out, as MMRazor's names a file of the student"
    return student_config(Config(values)), "the plain student's"


def read_config_text(text: str) -> Dict[str, Any]:
    """A config as ``Config.dump`` writes it, without executing anything.

    Args:
        text (str): Assignments of literals and calls of ``dict``. Names with
            dots, which some versions of MMEngine write for classes, become
            strings.

    Raises:
        SyntaxError: If it is not Python.
        ValueError: If there is anything else in it.
    """
    values = {}
    for line in ast.parse(text).body:
        if not isinstance(line, ast.Assign) or len(line.targets) != 1:
            raise ValueError(f'line {line.lineno} is not an assignment')
        values[ast.unparse(line.targets[0])] = _value(line.value)
    return values


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.List):
        return [_value(x) for x in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(x) for x in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = zip(node.keys, node.values)
        return {_value(k): _value(v) for k, v in pairs if k is not None}
    if isinstance(node, ast.Attribute):
        return ast.unparse(node)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict':
        result: Dict[Any, Any] = {}
        for argument in node.args:
            result.update(_value(argument))
        for keyword in node.keywords:
            result[keyword.arg] = _value(keyword.value)
        return result
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(
            f'line {node.lineno}: {ast.unparse(node)[:60]} is not a plain '
            'value'
        ) from None


def _build(config: Config) -> nn.Module:
    from mmdet_rankkd.distillers.teacher import build_model

    try:
        if config.get('custom_imports'):
            import_modules_from_strings(**config.custom_imports)
        return build_model(config)
    except Exception as error:
        raise ValueError(
            "the student of the checkpoint's config cannot be built here "
            f'({type(error).__name__}: {first_line(str(error))}) Run this '
            'where its code can be imported (PYTHONPATH).'
        ) from error


def _check_keys(model: nn.Module, weights: Dict[str, Any]) -> None:
    wanted = set(model.state_dict())
    missing, extra = wanted - set(weights), set(weights) - wanted
    if missing or extra:
        raise ValueError(
            'the checkpoint does not hold the student of its config: '
            f'{len(missing)} weights missing '
            f'(first: {first_few(sorted(missing))}), {len(extra)} extra '
            f'(first: {first_few(sorted(extra))})'
        )
