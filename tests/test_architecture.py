"""The rooms of the package: who may import whom, late imports included."""

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

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
    ('engine', ABOVE, DETECTION),
    ('utils', ABOVE, 'mmdet'),
    (
        'experiments',
        ABOVE,
        f'{DETECTION} matplotlib cv2 scipy ray tqdm pycocotools',
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
