"""Equations as MathML, which browsers draw without scripts or fonts."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">(?P<open>\\[(\[])(?P<tex>.*?)'
    r'\\[)\]]</(?P=tag)>',
    re.DOTALL,
)


def mathml(match: 're.Match[str]') -> str:
    """MathML of an equation that the page has as TeX."""
    display = 'block' if match['open'] == r'\[' else 'inline'
    tex = html.unescape(match['tex'].strip())
    return convert(tex, display=display)


def on_page_content(text: str, /, **kwargs: Any) -> str:
    """Replace the equations of a page."""
    return EQUATION.sub(mathml, text)
