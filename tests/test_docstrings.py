"""Descriptions of arguments say what each is; none is half a phrase."""

import ast
import re

from .helpers import ROOT

ENTRY = re.compile(r'^\s+\*{0,2}(\w+) \([^)]*\): (.*)$', re.MULTILINE)
#: "prob (float): Of doing so." does not say what the thing is.
HALF = re.compile(r'(Of|In|With|To|By|On|For|From) ')


def described(text):
    """Arguments and attributes of a module, and how each is described."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(
            node, (ast.Module, ast.ClassDef, ast.FunctionDef)
        ) and ast.get_docstring(node):
            yield from ENTRY.findall(ast.get_docstring(node))


def half(description):
    """Whether it is only a part of a phrase, or only a symbol."""
    word = description.rstrip('.')
    return bool(
        HALF.match(description)
        or len(word) == 1
        or word.lower() in ('alpha', 'beta', 'gamma', 'lambda')
        or word in ('It', 'Is changed')
    )


def test_half_phrases_are_found():
    text = '"""A function.\n\nArgs:\n    prob (float): Of doing so.\n"""'
    assert [half(x) for _, x in described(text)] == [True]
    assert half('lambda.') and half('K.')
    assert not half('Probability of doing so.') and not half('Blocks.')


def test_arguments_are_described():
    count = 0
    for path in sorted((ROOT / 'mmdet_rankkd').rglob('*.py')):
        if '.mim' in path.parts:
            continue
        for name, description in described(path.read_text()):
            count += 1
            where = path.relative_to(ROOT)
            assert not half(description), f'{where}: {name}: {description}'
    assert count > 1000
