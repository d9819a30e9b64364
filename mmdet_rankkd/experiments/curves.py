"""Reading what MMEngine's LocalVisBackend wrote during a training."""

import json
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

#: (iteration, value), in the order of the training.
Curve = List[Tuple[float, float]]
Entry = Dict[str, float]


def read_scalars(work_dir: Path) -> List[Entry]:
    """Entries of the ``scalars.json`` files below a work dir, oldest first.

    A training that was stopped and went on has several; what it repeated is
    taken from the later one.
    """
    entries: List[Entry] = []
    for file in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        later = []
        for line in file.read_text().splitlines():
            try:
                later.append(json.loads(line))
            except json.JSONDecodeError:  # a line that is being written
                continue
        steps = [e['step'] for e in later if 'lr' in e]
        entries = before(entries, steps[0]) if steps else entries
        entries += later
    return entries


def before(entries: Sequence[Entry], step: float) -> List[Entry]:
    """Entries of the iterations before one, and of their validations."""
    found = []
    for entry in entries:
        if 'lr' in entry and entry['step'] >= step:
            break
        found.append(entry)
    return found


def train_curve(entries: Sequence[Entry], name: str) -> Curve:
    """The curve of a training scalar."""
    return [(e['step'], e[name]) for e in entries if 'lr' in e and name in e]


def validations(entries: Sequence[Entry]) -> List[Tuple[float, Entry]]:
    """Iteration and metrics of each validation.

    Validation entries carry the epoch; the iteration is that of the training
    entry before them.
    """
    found = []
    step = 0.0
    for entry in entries:
        if 'lr' in entry:
            step = entry['step']
        else:
            found.append((step, metrics_of(entry)))
    return found


def metrics_of(entry: Dict[str, Any]) -> Entry:
    """The metrics among what a validation logged."""
    return {
        key: float(value)
        for key, value in entry.items()
        if isinstance(value, (int, float))
        and key not in ('step', 'epoch', 'iter')
        and 'time' not in key
        and not key.startswith('best/')
    }


def val_curve(entries: Sequence[Entry], name: str) -> Curve:
    """The curve of a validation metric."""
    return [(s, m[name]) for s, m in validations(entries) if name in m]


def thin(curve: Curve, count: int = 200) -> Curve:
    """At most about so many points of a curve, with its last."""
    stride = max(1, len(curve) // count)
    return curve[::-1][::stride][::-1]


def all_curves(entries: Sequence[Entry]) -> Dict[str, Curve]:
    """Thinned curves of ``'train/<loss>'`` and ``'val/<metric>'``."""
    names = list(dict.fromkeys(name for e in entries for name in e))
    curves = {
        f'train/{name}': thin(train_curve(entries, name))
        for name in names
        if name.startswith('loss') or name == 'kendall_tau'
    }
    found = validations(entries)
    for name in dict.fromkeys(name for _, m in found for name in m):
        curves[f'val/{name}'] = thin(val_curve(entries, name))
    return {name: curve for name, curve in curves.items() if curve}
