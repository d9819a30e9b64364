"""Configs of table cells: a pair of networks and a method.

Pairs, methods and what they want of each other are facts in
``configs/_base_/cells/<set>.py``; this module puts two of them together.
"""

import ast
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from mmengine.config import Config

import mmdet_rankkd

CONFIGS = (Path(mmdet_rankkd.__file__).parent / '.mim/configs').resolve()
CELLS = CONFIGS / '_base_/cells'
TRAINING = ('lr', 'max_epochs', 'clip_grad')
RANK = 'mmdet_rankkd.KendallRankLoss'
Overrides = Dict[str, Dict[str, Any]]


def cell_sets() -> List[str]:
    """Names of the sets of cells."""
    return sorted(p.stem for p in CELLS.glob('*.py'))


def read_cells(name: str) -> Dict[str, Any]:
    """The facts of a set of cells.

    Raises:
        ValueError: If there is no such set.
    """
    if name not in cell_sets():
        raise ValueError(
            f'there is no set of cells {name!r}; there are '
            + ', '.join(cell_sets())
        )
    return Config.fromfile(CELLS / f'{name}.py').to_dict()


def _choose(what: str, name: str, among: Any) -> Any:
    if name not in among:
        raise ValueError(
            f'there is no {what} {name!r}; there are ' + ', '.join(among)
        )
    return among[name]


def method_of(cells: Dict[str, Any], pair: str, method: str) -> Dict[str, Any]:
    """Losses and training of a method as a pair wants it.

    Args:
        cells (dict): Of :func:`read_cells`.
        pair (str): One of its pairs.
        method (str): One of its methods, perhaps followed by ``+rank``.

    Raises:
        ValueError: If there is no such pair or method.
    """
    wanted = dict(_choose('pair', pair, cells['pairs']))
    base, plus, extra = method.partition('+')
    if plus and extra != 'rank':
        raise ValueError(
            f"a method is a name or a name and '+rank', got {method!r}"
        )
    found = dict(_choose('method', base, cells['methods']))
    found['losses'] = [dict(loss) for loss in found['losses']]
    for key, value in wanted.get(base, {}).items():
        if key in TRAINING:
            found[key] = value
        else:
            found['losses'][0][key] = value
    if plus:
        gamma = _choose('ranking weight for method', base, cells['rank'])
        found['losses'].append(dict(type=RANK, **gamma))
    return found


def override(losses: List[dict], overrides: Overrides) -> None:
    """Set arguments of losses, which are named by their class.

    Raises:
        ValueError: If none of the losses is of that class.
    """
    for name, arguments in overrides.items():
        matching = [x for x in losses if x['type'].split('.')[-1] == name]
        if not matching:
            have = ', '.join(x['type'].split('.')[-1] for x in losses)
            raise ValueError(
                f'the method has no {name} to set {arguments} of, only '
                f'{have or "no loss"}'
            )
        for loss in matching:
            loss.update(arguments)


def cell_text(
    name: str,
    pair: str,
    method: str,
    overrides: Optional[Overrides] = None,
    training: Optional[Dict[str, Any]] = None,
) -> str:
    """Text of the config of one cell.

    Args:
        name (str): Set of cells, such as ``'cifar100'``.
        pair (str): ``'<teacher>_<student>'``.
        method (str): ``'alone'``, ``'kd'``, ``'kd+rank'``, ...
        overrides (dict, optional): Arguments of losses by their class.
        training (dict, optional): ``ce``, ``lr``, ``max_epochs`` or
            ``clip_grad`` in place of the method's.

    Raises:
        ValueError: If an argument names nothing that there is.
    """
    cells = read_cells(name)
    found = method_of(cells, pair, method)
    found.update(training or {})
    override(found['losses'], overrides or {})
    teacher, student = pair.split('_')
    base = CONFIGS / cells['config'].format(student)
    lines = [
        f'# {method} on {pair} of {name}; made by tools/make_config.py.',
        f'_base_ = {str(base)!r}',
    ]
    settings: Dict[str, Any] = {}
    if method != 'alone':
        settings['model'] = _model(cells, pair, found, teacher)
    if 'lr' in found:
        settings['optim_wrapper'] = dict(optimizer=dict(lr=found['lr']))
    if 'clip_grad' in found:
        settings.setdefault('optim_wrapper', {})['clip_grad'] = dict(
            max_norm=found['clip_grad']
        )
    if 'max_epochs' in found:
        settings['train_cfg'] = dict(max_epochs=found['max_epochs'])
    if found.get('two_views'):
        pipeline = Name('_base_.two_views_pipeline')
        settings['train_dataloader'] = dict(dataset=dict(pipeline=pipeline))
    if found.get('contrast'):
        wrapper = dict(
            _delete_=True,
            type='mmdet_rankkd.ContrastDataset',
            dataset=Name('_base_.train_dataloader.dataset'),
        )
        settings['train_dataloader'] = dict(dataset=wrapper)
    lines += [f'{key} = {as_code(x)}' for key, x in settings.items()]
    return '\n'.join(lines) + '\n'


def _model(
    cells: Dict[str, Any], pair: str, found: Dict[str, Any], teacher: str
) -> Dict[str, Any]:
    config = cells.get('teacher_config', cells['config']).format(teacher)
    student: Any = Name('_base_.model')
    if found.get('ce', 1.0) != 1.0:
        loss = dict(type='mmdet.CrossEntropyLoss', loss_weight=found['ce'])
        head = {'**': Name('_base_.model.head'), 'loss': loss}
        student = {'**': student, 'head': head}
    model: Dict[str, Any] = dict(
        _delete_=True,
        type='mmdet_rankkd.DistillClassifier',
        student=student,
        teacher=dict(
            config=str(CONFIGS / config),
            checkpoint=_checkpoint(cells, teacher),
            **cells.get('teacher', {}),
        ),
        losses=found['losses'],
    )
    logits = cells['pairs'][pair].get('logits')
    if logits is not None:
        model['logits'] = logits
    if 'features' in cells:
        model['features'] = cells['features']
    return model


def _checkpoint(cells: Dict[str, Any], teacher: str) -> str:
    if 'shipped_checkpoint' in cells:
        return str(CONFIGS / cells['shipped_checkpoint'].format(teacher))
    return cells['checkpoint'].format(teacher)


class Name(str):
    """A Python expression, written to a config without quotes."""


def as_code(value: Any, indent: int = 0) -> str:
    """A value as it is written in a config; `**` is a dict to start from."""
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, dict):
        items = [
            as_code(x, indent + 4)
            if key == '**'
            else f'{key}={as_code(x, indent + 4)}'
            for key, x in value.items()
        ]
        opening, closing = 'dict(', ')'
    elif isinstance(value, list):
        items = [as_code(x, indent + 4) for x in value]
        opening, closing = '[', ']'
    else:
        return repr(value)
    line = opening + ', '.join(items) + closing
    if len(line) + indent < 64 and '\n' not in line:
        return line
    space = '\n' + ' ' * (indent + 4)
    body = ''.join(f'{space}{item},' for item in items)
    return f'{opening}{body}\n{" " * indent}{closing}'


def cell_name(pair: str, method: str, overrides: Any = None) -> str:
    """A file name for a cell, without a suffix."""
    parts = [method.replace('+', '-'), pair]
    for loss, arguments in (overrides or {}).items():
        parts += [f'{loss}-{k}-{v}' for k, v in arguments.items()]
    return '_'.join(parts).replace('.', 'p')


def parse_overrides(items: List[str]) -> Overrides:
    """``['KendallRankLoss.k=2']`` to ``{'KendallRankLoss': {'k': 2}}``.

    Raises:
        ValueError: If an item is not of that form.
    """
    result: Overrides = {}
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


def write_cell(path: Union[str, Path], text: str) -> Path:
    """Write a config unless the same is there.

    Raises:
        FileExistsError: If another text is there.
    """
    path = Path(path)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    elif path.read_text() != text:
        raise FileExistsError(
            f'{path} exists and is another config; move it away or give '
            'another name with --out'
        )
    return path
