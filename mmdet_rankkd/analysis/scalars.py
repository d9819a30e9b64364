"""Reading what MMEngine's LocalVisBackend wrote."""

import json
from pathlib import Path
from typing import Dict, List, Tuple

Curve = List[Tuple[float, float]]


def read_scalars(work_dir: Path) -> List[Dict[str, float]]:
    """Entries of the newest ``scalars.json`` below a work dir."""
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        return []
    entries = []
    for line in files[-1].read_text().splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:  # a line that is being written
            continue
    return entries


def train_curve(entries: List[Dict[str, float]], name: str) -> Curve:
    """(iteration, value) of a training scalar."""
    return [(e['step'], e[name]) for e in entries if 'lr' in e and name in e]


def val_curve(entries: List[Dict[str, float]], name: str) -> Curve:
    """(iteration, value) of a validation scalar.

    Validation entries carry the epoch; the iteration is that of the training
    entry before them.
    """
    curve: Curve = []
    step = 0.0
    for entry in entries:
        if 'lr' in entry:
            step = entry['step']
        elif name in entry:
            curve.append((step, entry[name]))
    return curve
