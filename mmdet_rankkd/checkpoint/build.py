"""Reading a config, and building the model that it describes."""

import ast
import copy
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Hashable, Iterator, Optional, TypeGuard, Union, cast

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from yaml import SafeLoader, SequenceNode, load

from .commands import refuse_commands
from .diagnose import first_line
from .read import locate_file

#: Kinds of configs that are not executed.
PLAIN = ('.json', '.yml', '.yaml')


def load_config(
    config: Union[str, dict, Config],
    folder: Optional[Path] = None,
    what: str = 'config',
) -> Config:
    """Read a config given as a file, a ``package::path`` or a dict.

    A config in Python is a program and is executed. One in JSON or YAML, as
    ``Config.dump`` writes it, is not: it is the form for a stranger's.

    Args:
        config (str, dict or Config): The config, or where it is; see
            :func:`locate_file`.
        folder (Path, optional): Where else a relative path is looked for.
        what (str): How to name the config in messages.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If it is none of these.
        ValueError: If it cannot be read.
    """
    if isinstance(config, Config):
        return config
    if isinstance(config, dict):
        return Config(dict(config))
    if isinstance(config, str) and '::' in config and not Path(config).suffix:
        config += '.py'
    file = locate_file(config, what, folder)
    with config_errors(f'{what} {str(config)!r}'):
        if Path(file).suffix in PLAIN:
            return Config(_read_plain(Path(file)))
        return Config.fromfile(file)


@contextmanager
def config_errors(name: str) -> Iterator[None]:
    """Say of a config what goes wrong when it is read in the context.

    It is a program, or JSON or YAML text, so that anything may go wrong.

    Args:
        name (str): How to name it.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: In place of all other errors.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{name}: a file that it names as _base_ is not there: {error}'
        ) from error
    except Exception as error:
        reason = first_line(str(error))
        raise ValueError(
            f'{name} cannot be read: {type(error).__name__}: {reason}'
        ) from error


class PlainLoader(SafeLoader):
    """Reads YAML of plain values, and the tuples that MMEngine writes."""


def _tuple(loader: SafeLoader, node: SequenceNode) -> tuple:
    return tuple(loader.construct_sequence(node, deep=True))


PlainLoader.add_constructor('tag:yaml.org,2002:python/tuple', _tuple)


def _read_plain(file: Path) -> dict:
    """Read JSON or YAML without executing anything.

    MMEngine would: YAML can name calls, a ``_base_`` can be a program,
    ``custom_imports`` are imported, and a type can be any function.

    Raises:
        ValueError: If it is no dict, has a ``_base_``, or a type that is not
            registered.
    """
    text = file.read_text()
    is_json = file.suffix == '.json'
    values = json.loads(text) if is_json else load(text, PlainLoader)
    if not isinstance(values, dict):
        raise ValueError(f'it holds a {type(values).__name__}, not a dict')
    if '_base_' in values:
        raise ValueError(
            'a config in JSON or YAML cannot have a _base_; write it as a '
            'whole with Config.dump'
        )
    refuse_commands(values)
    return values


def model_config(config: Config) -> ConfigDict:
    """Return all that a model is built of, out of its config.

    Args:
        config (Config): Config with a ``model``. What MMEngine's Runner would
            add to it is added: a ``data_preprocessor`` of its own, and the
            default scope, as ``_scope_``.

    Raises:
        ValueError: If it has no ``model``, or one without a type.
    """
    if 'model' not in config:
        raise ValueError('the config has no "model"')
    if not isinstance(config.model, dict) or 'type' not in config.model:
        raise ValueError(
            'the "model" of the config must be a dict with a type, got '
            f'{str(config.model)[:80]!r}'
        )
    # Some detectors of MMDetection write to the config they are built of.
    model = ConfigDict(copy.deepcopy(dict(config.model)))
    if 'data_preprocessor' in config:
        model.setdefault('data_preprocessor', config.data_preprocessor)
    model.setdefault('_scope_', config.get('default_scope') or 'mmdet')
    return model


def build_model(config: Config) -> nn.Module:
    """Build the model of a config under the config's own default scope.

    Raises:
        ValueError: If it has no ``model``.
    """
    model = model_config(config)
    with DefaultScope.overwrite_default_scope(model.pop('_scope_')):
        return MODELS.build(model)


def read_config_text(text: str) -> Dict[str, object]:
    """Read a config as ``Config.dump`` writes it, without executing it.

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


def _value(node: ast.expr) -> object:
    if isinstance(node, ast.List):
        return [_value(x) for x in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(x) for x in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = zip(node.keys, node.values)
        return {
            cast(Hashable, _value(key)): _value(value)
            for key, value in pairs
            if key is not None
        }
    if isinstance(node, ast.Attribute):
        return ast.unparse(node)
    if _is_plain_dict(node):
        result: dict = {}
        for argument in node.args:
            result.update(cast(dict, _value(argument)))
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


def _is_plain_dict(node: ast.expr) -> TypeGuard[ast.Call]:
    """Whether it is ``dict(a=...)`` or, of other keys, ``dict({...})``."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) == 'dict'
        and all(isinstance(x, ast.Dict) for x in node.args)
        and all(x.arg is not None for x in node.keywords)
    )
