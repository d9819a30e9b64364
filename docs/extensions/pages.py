"""Pages that are made of the source, and links out of `docs/`.

READMEs of the configs, CONTRIBUTING.md and the like become pages as they are;
the losses, the API and the errors are read from the package, which is not
imported.
"""

import ast
import posixpath
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'mmdet_rankkd'
#: Files outside of `docs/` that are pages, by the place of the page.
FOREIGN = {
    'contributing.md': 'CONTRIBUTING.md',
    'changelog.md': 'CHANGELOG.md',
    'security.md': 'SECURITY.md',
    'benchmarks.md': 'benchmarks/README.md',
    **{
        f'configs/{path.parent.name}.md': f'configs/{path.parent.name}/'
        'README.md'
        for path in sorted((ROOT / 'configs').glob('*/README.md'))
    },
}
#: Rooms of the package in the API, ground floor first.
ROOMS = (
    'structures',
    'ops',
    'checkpoint',
    'losses',
    'models',
    'datasets',
    'evaluation',
    'recorders',
    'distillers',
    'engine.hooks',
    'deploy',
)
#: What is to be used of a room that exports nothing, so that each of its
#: modules can be imported, or copied, without the others.
OF_MODULES = {
    'deploy': (
        'formats.write_onnx',
        'formats.write_safetensors',
        'runtime.Detections',
        'runtime.Detector',
        'ship.ship_student',
        'student.find_samples',
        'student.read_student',
    )
}
#: Folders of the losses.
KINDS = sorted(
    p.parent.name for p in (PACKAGE / 'losses').glob('*/__init__.py')
)
#: Errors by what they are about: title, what to do, files of the package.
TOPICS: Tuple[Tuple[str, str, Tuple[str, ...]], ...] = (
    (
        'The distillation config',
        'The config is refused before anything is built. Compare it with the '
        'fifteen lines of [Your own data](your-own-data.md).',
        ('distillers/build.py', 'distillers/common.py', 'distillers/base.py'),
    ),
    (
        'The teacher',
        'Check it by itself, before any training: `rankkd check CONFIG`.',
        ('distillers/teacher.py', 'engine/check_teacher.py'),
    ),
    (
        'Files of weights',
        'Config and checkpoint must be of one model, and the file must be '
        'one of `torch.save`.',
        ('checkpoint/',),
    ),
    (
        'Rows: student and teacher cannot be compared',
        'Logits are compared row by row and class by class, feature maps '
        'place by place. Give both networks the same grid and classes, or '
        'set a `class_map`; or take another recorder. See [Detectors and '
        'heads](detectors.md).',
        ('recorders/', 'structures/'),
    ),
    (
        'Losses',
        'A setting is out of its range, or the loss needs what this set-up '
        'does not have: labels, a second view, levels of one size. Its '
        'section among the [Losses](losses.md) says what it takes.',
        ('losses/', 'ops/'),
    ),
    (
        'Data',
        'Look at the path in the message first.',
        ('datasets/', 'evaluation/'),
    ),
    (
        'Networks',
        'A setting of a network of this package is out of its range.',
        ('models/',),
    ),
    (
        'Training, resuming, hooks',
        'The settings of a training or of a hook do not go together.',
        ('engine/', 'cli/', 'distillers/student_wrapper.py', 'compat.py'),
    ),
    (
        'Tables of trainings',
        'Of `rankkd sweep`, `rankkd make-config` and the demos. See [a '
        'table](contributing.md#a-new-network-a-new-table).',
        ('experiments/',),
    ),
    (
        'Others',
        'Of modules that none of these topics names.',
        ('',),
    ),
)
LINK = re.compile(r'(!?)\[([^\]]*)\]\(([^)\s]+)\)')
#: Messages of fewer letters are all filled in, and tell nothing here.
MOST_FILLED_IN = 8
PLACE = re.compile(r'<!-- losses: (\w+) -->')
FENCE = re.compile(r'^(\s*)```.*?^\1```\s*$', re.DOTALL | re.MULTILINE)


def on_files(files: Files, /, config: MkDocsConfig, **kwargs: Any) -> Files:
    """Add the pages that `docs/` does not have."""
    for place, source in FOREIGN.items():
        path = ROOT / source
        if path.is_file():
            files.append(
                File.generated(config, place, content=path.read_text())
            )
    for room in ROOMS:
        place = f'api/{room}.md'
        files.append(File.generated(config, place, content=api_page(room)))
    return files


def on_page_markdown(
    text: str, /, page: Page, files: Files, **kwargs: Any
) -> str:
    """Fill in what is made of the source; mend links out of `docs/`."""
    place = page.file.src_uri
    source = FOREIGN.get(place, f'docs/{place}')
    text = PLACE.sub(lambda m: loss_sections(m[1]), text)
    text = text.replace('<!-- errors -->', error_tables())
    pieces, start = [], 0
    for fence in FENCE.finditer(text):
        pieces += [mend(text[start : fence.start()], source, place, files)]
        pieces += [fence[0]]
        start = fence.end()
    return ''.join([*pieces, mend(text[start:], source, place, files)])


def mend(text: str, source: str, place: str, files: Files) -> str:
    """Links of a file of the repository, as links of the site.

    Args:
        text (str): Markdown without code blocks.
        source (str): The file that it stands in, from the repository's root.
        place (str): The page that it becomes.
        files (Files): All files of the site.

    Returns:
        str: Links to a page or picture point to it; what is no page (a
        config, a folder) keeps its text alone.
    """
    pages = {old: new for new, old in FOREIGN.items()}

    def replace(match: 're.Match[str]') -> str:
        mark, label, target = match.groups()
        path, hash_, anchor = target.partition('#')
        if not path or ':' in path:
            return match[0]
        old = posixpath.normpath(
            posixpath.join(posixpath.dirname(source), path)
        )
        if (ROOT / old).is_dir():
            old += '/README.md'
        new = pages.get(old, old.removeprefix('docs/'))
        if files.get_file_from_path(new) is None:
            if old.startswith('docs/') or mark:
                return match[0]
            return label if '`' in label else f'`{label}`'
        link = posixpath.relpath(new, posixpath.dirname(place) or '.')
        return f'{mark}[{label}]({link}{hash_}{anchor})'

    return LINK.sub(replace, text)


def parse(path: Path) -> ast.Module:
    """Syntax tree of a file."""
    return ast.parse(path.read_text())


def exported(room: str) -> List[str]:
    """Names in the ``__all__`` of a room, sorted, or those of its modules."""
    if room in OF_MODULES:
        return list(OF_MODULES[room])
    path = PACKAGE / room.replace('.', '/') / '__init__.py'
    for node in parse(path).body:
        if isinstance(node, ast.Assign) and '__all__' in [
            getattr(t, 'id', '') for t in node.targets
        ]:
            return sorted(ast.literal_eval(node.value), key=str.lower)
    return []


def directive(name: str, level: int, members: bool = True) -> str:
    """What mkdocstrings replaces by the documentation of a name."""
    options = f'      heading_level: {level}\n'
    if not members:
        options += '      members: false\n'
    return f'::: {name}\n    options:\n{options}'


def api_page(room: str) -> str:
    """Page of a room: what it exports."""
    name = f'mmdet_rankkd.{room}'
    if room == 'losses':
        shown = set().union(*map(loss_names, KINDS))
        names = [x for x in exported(room) if x not in shown]
        note = (
            'The losses themselves have [a page of their own](../losses.md).'
        )
    else:
        names, note = exported(room), ''
    if room in OF_MODULES:
        words = (f'{name}.{x}'.rpartition('.') for x in names)
        lines = [f'from {module} import {what}' for module, _, what in words]
        note = '\n'.join(['```python', *lines, '```', ''])
    parts = [directive(f'{name}.{x}', 2) for x in names]
    return '\n'.join([f'# `{name}`', '', note, '', *parts])


def is_registered(node: ast.AST) -> bool:
    """Whether a class is registered, under its own name."""
    return isinstance(node, ast.ClassDef) and any(
        'register_module' in ast.unparse(x) for x in node.decorator_list
    )


def loss_files(kind: str) -> Iterator[Tuple[str, List[str], List[str]]]:
    """Module, functions and registered classes of each loss of a kind."""
    public = set(exported('losses'))
    for path in sorted((PACKAGE / 'losses' / kind).glob('*.py')):
        body = parse(path).body
        classes = [x.name for x in body if is_registered(x)]
        functions = [
            x.name
            for x in body
            if isinstance(x, ast.FunctionDef) and x.name in public
        ]
        if classes:
            module = f'mmdet_rankkd.losses.{kind}.{path.stem}'
            yield module, functions, classes


def loss_names(kind: str) -> List[str]:
    """Functions and classes that the page of the losses shows."""
    return [
        name
        for _, functions, classes in loss_files(kind)
        for name in functions + classes
    ]


def loss_sections(kind: str) -> str:
    """A section for each method: its functions, then its classes."""
    parts = []
    for module, functions, classes in loss_files(kind):
        parts.append(f'### {" and ".join(f"`{c}`" for c in classes)}\n')
        parts += [directive(f'{module}.{x}', 4) for x in functions]
        parts += [directive(f'{module}.{x}', 4, False) for x in classes]
    return '\n'.join(parts)


def wording(node: ast.AST, function: Optional[ast.AST]) -> str:
    """Text of a message; an ellipsis stands for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return ''.join(wording(x, function) for x in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return wording(node.left, function) + wording(node.right, function)
    if isinstance(node, ast.Name) and function is not None:
        texts = [
            wording(x.value, None)
            for x in ast.walk(function)
            if isinstance(x, (ast.Assign, ast.AugAssign))
            and node.id in [getattr(t, 'id', '') for t in targets(x)]
        ]
        words = ' '.join(t.strip() for t in texts if t.strip(' …'))
        if words:
            return words
    return '…'


def targets(node: Any) -> List[ast.AST]:
    """What an assignment sets."""
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def errors() -> Iterator[Tuple[str, str, str]]:
    """File, type and message of every error that the package raises."""
    for path in sorted(PACKAGE.rglob('*.py')):
        file = path.relative_to(PACKAGE).as_posix()
        if file.startswith('.mim'):
            continue
        tree = parse(path)
        inside: Dict[ast.AST, ast.AST] = {}
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                inside.update(dict.fromkeys(ast.walk(function), function))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                kind = ast.unparse(node.exc.func)
                words = [wording(x, inside.get(node)) for x in node.exc.args]
                text = ' '.join(' '.join(words).split())
                if len(re.findall('[a-z]', text)) > MOST_FILLED_IN:
                    yield file, kind, text


def topic_of(file: str) -> int:
    """Index of the first topic that has the file."""
    return next(
        i for i, (_, _, files) in enumerate(TOPICS) if file.startswith(files)
    )


def error_tables() -> str:
    """All messages, by topic."""
    groups: Dict[int, Dict[Tuple[str, str], List[str]]] = {}
    for file, kind, text in errors():
        group = groups.setdefault(topic_of(file), {})
        group.setdefault((kind, text), []).append(file)
    parts = []
    for index, (title, advice, _) in enumerate(TOPICS):
        if index not in groups:
            continue
        parts += [f'### {title}', '', advice, '']
        for (kind, text), files in sorted(
            groups[index].items(), key=lambda x: x[0][1].lstrip('… ').lower()
        ):
            where = ', '.join(f'`{x}`' for x in dict.fromkeys(files))
            parts.append(f'- {escape(text)}<br>`{kind}`, {where}')
        parts.append('')
    return '\n'.join(parts)


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r'([\\`*_{}\[\]<>#|~^$])', r'\\\1', text)
