"""The rooms of the package: who may import whom, late imports included."""

import ast
import re
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import torch

from mmdet_rankkd.registry import MODELS

from .helpers import ROOT

PACKAGE = 'mmdet_rankkd'
ABOVE = 'all of the above'
DETECTION = 'torch numpy mmengine mmcv mmdet'
#: The rooms, ground floor first: name, rooms that it may import, and packages
#: that it may import. What a room does not import, it does not depend on: the
#: losses, for example, know nothing of detectors.
ROOMS = [
    ('version', '', ''),
    ('compat', '', 'mmengine mmcv numpy'),
    ('registry', '', 'mmengine'),
    ('structures', '', 'torch mmengine'),
    ('ops', '', 'torch'),
    ('checkpoint', 'compat registry', 'torch numpy mmengine yaml'),
    # The package's own __init__.py, which every import executes.
    (PACKAGE, 'version compat checkpoint', ''),
    ('losses', 'registry structures ops', 'torch mmengine'),
    ('models', 'registry structures', DETECTION),
    (
        'datasets',
        'compat registry structures',
        f'{DETECTION} PIL cv2 sklearn tqdm',
    ),
    ('evaluation', 'registry structures', 'torch numpy mmengine'),
    ('recorders', 'registry structures', 'torch mmengine mmdet'),
    ('distillers', ABOVE, 'torch mmengine mmcv'),
    ('engine', ABOVE, f'{DETECTION} pycocotools tqdm'),
    ('utils', ABOVE, 'mmdet'),
    ('deploy', ABOVE, f'{DETECTION} cv2 onnxruntime'),
    (
        'experiments',
        ABOVE,
        f'{DETECTION} matplotlib cv2 scipy ray pycocotools tqdm',
    ),
    ('cli', ABOVE, 'click'),
    ('__main__', 'cli', ''),
]
NAMES = [name for name, *_ in ROOMS]


@cache
def modules():
    """File of each module of the package."""
    files = {}
    for path in sorted((ROOT / PACKAGE).rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        if not any(p.startswith('.') for p in parts):
            files['.'.join(parts).removesuffix('.__init__')] = path
    return files


def room_of(module):
    return (module.split('.')[:2])[-1]


def imports(module):
    """What a module imports, wherever in its text."""
    path = modules()[module]
    parts = module.split('.')
    package = parts if path.stem == '__init__' else parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            start = '.'.join(
                (base if node.level else []) + (node.module or '').split('.')
            ).strip('.')
            for alias in node.names:
                name = f'{start}.{alias.name}'
                found.add(name if name in modules() else start)
    return found


def test_the_walk_finds_late_and_relative_imports(tmp_path, monkeypatch):
    path = tmp_path / 'hook.py'
    path.write_text(
        'import torch\n'
        'from . import best\n'
        'from .best import Best\n'
        'from ..launch import run\n'
        'def late():\n'
        f'    from {PACKAGE} import compat\n'
        f'    from {PACKAGE}.losses.logit.kendall import kendall_tau\n'
    )
    names = (
        'engine.hooks.best',
        'engine.launch',
        'compat',
        'losses.logit.kendall',
    )
    files = dict.fromkeys((f'{PACKAGE}.{n}' for n in names), Path('x.py'))
    hook = f'{PACKAGE}.engine.hooks.hook'
    monkeypatch.setitem(globals(), 'modules', lambda: {**files, hook: path})
    assert imports(hook) == {'torch', *files}


def test_every_room_is_known():
    rooms = {room_of(module) for module in modules()}
    assert rooms <= set(NAMES)
    assert len(modules()) > 80 and len(rooms) > 10


@pytest.mark.parametrize(
    'room, rooms, packages',
    [pytest.param(*row, id=row[0]) for row in ROOMS],
)
def test_a_room_imports_only_what_it_may(room, rooms, packages):
    above = NAMES[: NAMES.index(room)]
    allowed = above if rooms == ABOVE else rooms.split()
    assert set(allowed) <= set(above), 'arrows point to what stands above'
    for module in modules():
        if room_of(module) != room:
            continue
        for name in imports(module):
            first = name.split('.')[0]
            if first == PACKAGE:
                ok = room_of(name) in (room, *allowed)
            else:
                ok = first in packages.split()
                ok = ok or first in sys.stdlib_module_names
            assert ok, f'{module} imports {name}'


def literals(tree):
    """Strings of a module that are no docstrings."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docs
    }


def losses():
    """Names of all registered losses, and theirs in the log."""
    import mmdet_rankkd.losses as room

    kinds = [
        x
        for x in vars(room).values()
        if isinstance(x, type) and issubclass(x, room.DistillLoss)
    ]
    concrete = [x for x in kinds if x.__name__ in MODELS.module_dict]
    assert len(concrete) > 20
    return {x.__name__ for x in concrete} | {x.loss_name for x in concrete}


def test_losses_alone_know_losses_by_their_names():
    """Neither by an import, an attribute nor a string: a loss says itself
    what it needs. Messages may name one as an example of a type.
    """
    known = losses()
    for module, path in modules().items():
        if room_of(module) not in ('structures', 'recorders', 'distillers'):
            continue
        tree = ast.parse(path.read_text())
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        names |= {
            n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)
        }
        names |= {x.split('.')[-1] for x in imports(module)}
        assert not known & (names | literals(tree)), module


#: Where contracts are, types are real. What is left is listed: attributes
#: of a module, which to a type checker may all be tensors, and calls that are
#: passed on.
TYPED = ('structures', 'ops', 'recorders', 'losses')
UNTYPED = {
    'recorders.base': ['Model = Any'],
    'recorders.listening': [
        'owner: object, name: str, function: Callable[..., Any]',
        'def listened(*args: Any, **kwargs: Any) -> Any:',
    ],
    'losses.feature.fgfi': ['detector: Any,'],
    'losses.base': [
        'student: Union[Tensor, Sequence[Tensor]], *args: Any, **kwargs: Any'
    ],
}


def test_contracts_have_types():
    """There, `Any` is what is passed on (`**kwargs`), and nothing else but
    what is listed above and local names for attributes of modules.
    """
    for module, path in modules().items():
        if room_of(module) not in TYPED:
            continue
        tree = ast.parse(path.read_text())
        passed_on = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.arguments)
            for star in (node.vararg, node.kwarg)
            if star is not None and star.annotation is not None
            for inner in ast.walk(star.annotation)
        }
        local = {
            id(node.annotation)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
            if isinstance(node, ast.AnnAssign)
        }
        text = path.read_text().splitlines()
        found = [
            text[node.lineno - 1].strip()
            for node in ast.walk(tree)
            if isinstance(node, ast.Name)
            and node.id == 'Any'
            and id(node) not in passed_on | local
        ]
        listed = UNTYPED.get(module.removeprefix(f'{PACKAGE}.'), [])
        assert set(found) <= set(listed), f'{module}: {found}'


def private(tree):
    """Names with one underscore that a module defines."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) == 'self'
        ):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return {x for x in found if re.fullmatch(r'_[a-zA-Z]\w*', x)}


def test_tests_use_nothing_private():
    """Of this package, so that what is private can change without them."""
    known = set()
    for path in modules().values():
        known |= private(ast.parse(path.read_text()))
    known -= set(vars(torch.nn.Module))  # of PyTorch, and overridden here
    assert len(known) > 50
    for path in sorted((ROOT / 'tests').rglob('*.py')):
        tree = ast.parse(path.read_text())
        own = private(tree)
        for node in ast.walk(tree):
            name = ''
            if isinstance(node, ast.Attribute):
                name = node.attr
            elif isinstance(node, ast.alias):
                name = node.name
            elif isinstance(node, ast.Constant):
                name = str(node.value).rpartition('.')[2]
            if name in known - own:
                where = f'{path.relative_to(ROOT)}, line {node.lineno}'
                pytest.fail(f'{where}: {name} is private')


def test_the_first_line_of_an_error_is_taken_one_way():
    for module, path in modules().items():
        if module != f'{PACKAGE}.checkpoint.diagnose':
            assert ".strip().split('\\n')[0]" not in path.read_text(), module


def test_a_thing_has_one_word():
    """Those of before are not in the package, nor in what it says."""
    gone = re.compile(
        r'\b(logit|feature) hooks?\b|\bsurest\b|\bwatched\b', re.IGNORECASE
    )
    for module, path in modules().items():
        text = ' '.join(path.read_text().split())
        assert not gone.search(text), f'{module}: {gone.search(text)[0]}'


def test_the_shared_base_is_short():
    lines = (ROOT / PACKAGE / 'distillers/base.py').read_text().splitlines()
    assert len(lines) <= 200


def test_no_modules_import_each_other():
    """Neither inside a room, nor by an import inside a function."""
    graph = {
        module: {n for n in imports(module) if n in modules()}
        for module in modules()
    }
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f'a circle: {" <- ".join(error.args[1])}')
