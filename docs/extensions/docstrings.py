"""Docstrings are written for Sphinx's roles; the site reads Markdown."""

import re
from typing import Any

import griffe

ROLE = re.compile(r':(?:class|func|meth|data|attr|mod):`~?([^`]+)`')
INLINE = re.compile(r':math:`([^`]+)`')
LITERAL = re.compile(r'::\n\n((?:[ ]{4}.*\n?|\s*\n)+)')


def display_equations(text: str) -> str:
    """Turn ``.. math::`` blocks into paragraphs in double dollars."""
    lines, out = text.split('\n'), []
    while lines:
        line = lines.pop(0)
        head, mark, first = line.partition('.. math::')
        if not mark or head.strip():
            out.append(line)
            continue
        indent = len(line) - len(line.lstrip())
        body = [first.strip()]
        while lines and (
            not lines[0].strip()
            or len(lines[0]) - len(lines[0].lstrip()) > indent
        ):
            body.append(lines.pop(0).strip())
        equation = ' '.join(x for x in body if x)
        pad = ' ' * indent
        out += ['', f'{pad}\\[{equation}\\]', '']
    return '\n'.join(out)


def markdown(text: str) -> str:
    """Markdown of a docstring with reStructuredText's roles."""
    text = display_equations(text)
    text = INLINE.sub(lambda m: f'\\({" ".join(m[1].split())}\\)', text)
    text = ROLE.sub(r'`\1`', text)
    return LITERAL.sub(
        lambda m: ':\n\n```python\n'
        + '\n'.join(x.removeprefix('    ') for x in m[1].rstrip().split('\n'))
        + '\n```\n\n',
        text,
    )


class MarkdownDocstrings(griffe.Extension):
    """Every docstring of the package, as it is read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
