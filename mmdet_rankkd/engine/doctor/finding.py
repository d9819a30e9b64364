"""A line of the doctor's table."""

import json
import math
import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Sequence

OK, NOTE, PROBLEM = 'ok', 'note', 'problem'
MARKS = {OK: '✓', NOTE: '!', PROBLEM: '✗'}
WIDTH = 79


@dataclass(frozen=True)
class Finding:
    """What was found of one matter.

    Attributes:
        name (str): The matter, in a word or two.
        state (str): ``'ok'``; ``'note'``, for what may be meant so; or
            ``'problem'``.
        said (str): What was found.
        todo (str): What to do about it, or nothing.
        facts (dict): The figures behind it, for scripts.
    """

    name: str
    state: str
    said: str
    todo: str = ''
    facts: Dict[str, Any] = field(default_factory=dict)


def has_problem(findings: Sequence[Finding]) -> bool:
    """Whether one of them is a problem."""
    return any(x.state == PROBLEM for x in findings)


def to_text(findings: Sequence[Finding]) -> str:
    """A table for people, with what to do under each line."""
    names = max((len(x.name) for x in findings), default=0)
    lines: List[str] = []
    for each in findings:
        start = f'{MARKS[each.state]} {each.name:<{names}}  '
        blank = ' ' * len(start)
        lines += _wrapped(each.said, start, blank)
        if each.todo:
            lines += _wrapped(f'→ {each.todo}', blank, f'{blank}  ')
    count = {s: sum(x.state == s for x in findings) for s in MARKS}
    lines.append('')
    lines.append(
        f'{count[OK]} in order, {count[NOTE]} to know of, '
        f'{count[PROBLEM]} to mend'
    )
    return '\n'.join(lines)


def _wrapped(text: str, first: str, rest: str) -> List[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def to_json(findings: Sequence[Finding]) -> str:
    """A list of objects for scripts; figures that are not finite are null."""
    return json.dumps(
        [_finite(asdict(x)) for x in findings], indent=1, ensure_ascii=False
    )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
