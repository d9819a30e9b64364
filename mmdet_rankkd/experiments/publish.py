"""Results as they are kept in a repository: a small file, and its page."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from mmdet_rankkd.checkpoint.write import write_whole

from .result import Result, Results
from .summary import (
    Grid,
    difference_grid,
    figure_grid,
    figures,
    to_markdown,
)
from .table import Table

#: What the trainings of one machine and one version share.
SHARED = ('versions', 'commit', 'device')
#: Behind a difference of trainings that do not share them.
MIXED = '†'


def published_file(root: Path, name: str) -> Path:
    """Where the results of a table are kept."""
    return root / 'results' / f'{name}.json'


def page_file(root: Path, name: str) -> Path:
    """Where the page of a table is kept."""
    return root / 'docs/results' / f'{name}.md'


def publish(table: Table, results: Results, root: Path) -> Tuple[Path, Path]:
    """Write ``results/<table>.json`` and ``docs/results/<table>.md``.

    Trainings that are in the file already are kept, so that results of
    several machines come together in it.

    Args:
        table (Table): That the trainings belong to; others are left out.
        results (Results): Results by name of the cell and by seed.
        root (Path): Folder of the repository.

    Returns:
        tuple[Path, Path]: The two files.

    Raises:
        ValueError: If a training is in the file with another result, or
            there is no result of the table at all.
    """
    file, page = (f(root, table.name) for f in (published_file, page_file))
    known = read_published(file) if file.is_file() else {}
    for cell in table.plan():
        for seed, found in results.get(cell.name, {}).items():
            before = known.setdefault(cell.name, {}).get(seed)
            if before is not None and before.last != found.last:
                raise ValueError(
                    f'{file} has another result of {cell.name}, seed {seed}: '
                    f'{before.last}, and not {found.last}. Remove it from '
                    'the file if it no longer counts'
                )
            known[cell.name][seed] = before or without_losses(found)
    known = {name: runs for name, runs in known.items() if runs}
    if not known:
        raise ValueError(f'there is no result of {table.name} to publish')
    for path, text in ((file, to_json(known)), (page, to_page(table, known))):
        write_whole(path, text.encode())
    return file, page


def without_losses(result: Result) -> Result:
    """A result whose curves are those of the validations alone."""
    facts = asdict(result)
    facts['curves'] = {
        name: curve
        for name, curve in result.curves.items()
        if name.startswith('val/')
    }
    return Result(**facts)


def to_json(results: Results) -> str:
    """Results as JSON, a line each; what many share is written once."""
    environments: List[dict] = []
    lines = []
    for runs in results.values():
        for _, result in sorted(runs.items()):
            facts = asdict(result)
            shared = {key: facts.pop(key) for key in SHARED}
            if shared not in environments:
                environments.append(shared)
            facts['environment'] = environments.index(shared)
            lines.append(json.dumps(facts))
    where = ',\n'.join(json.dumps(e) for e in environments)
    return (
        '{"environments": [\n'
        + where
        + '\n],\n"runs": [\n'
        + ',\n'.join(lines)
        + '\n]}\n'
    )


def read_published(file: Path) -> Results:
    """Read a file of :func:`publish`.

    Raises:
        ValueError: If it is none.
    """
    found: Results = {}
    try:
        content = json.loads(file.read_text())
        for facts in content['runs']:
            shared = content['environments'][facts.pop('environment')]
            result = Result(**shared, **facts)
            found.setdefault(result.name, {})[result.seed] = result
    except (TypeError, LookupError, json.JSONDecodeError) as error:
        raise ValueError(
            f'{file} is not a file of published results '
            f'({type(error).__name__}: {error})'
        ) from error
    return found


def to_page(table: Table, results: Results) -> str:
    """The page of a table: figures, differences, seeds, and how to repeat.

    Rows of which nothing ran are left out, unless they are the paper's.
    """
    rows = [
        row
        for row in table.rows
        if row in table.paper or seeds_of(table, row, results)
    ]
    trained = [row for row in rows if not table.is_tested(row)]
    seeds = sorted(
        {s for row in trained for s in seeds_of(table, row, results)}
    )
    tested = [row for row in rows if table.is_tested(row)]
    tests = {cell.name for cell in table.plan(tested)}
    runs = [
        run
        for name, by_seed in results.items()
        for run in by_seed.values()
        if name not in tests
    ]
    options = sorted({o for r in runs for o in r.options})
    command = f'rankkd sweep {table.name} --seeds ' + ' '.join(map(str, seeds))
    if options:
        command += ' --cfg-options ' + ' '.join(options)
    shown = with_seeds(table, figure_grid(table, results, rows), results)
    parts = [
        f'# {table.title}',
        table.note,
        f'Made from `results/{table.name}.json` by `rankkd sweep '
        f'{table.name} --publish .`; not written by hand. Mean ± standard '
        'deviation over seeds, last epoch.',
        to_markdown(shown),
    ]
    differences = difference_grid(table, results, rows)
    mixed = mark_mixed(table, differences, results)
    if len(differences) > 1:
        parts += [
            '## Differences',
            'Paired by seed, with the 95 % interval of their mean by '
            "Student's t. *Helps* and *hurts* are said where the interval "
            'leaves out zero, without a correction for their number.',
            to_markdown(differences),
        ]
    if mixed:
        parts.append(
            f'{MIXED} The two trainings of a seed are of different commits, '
            'versions or devices, all of which are named below.'
        )
    parts += ['## Repeat it', f'```sh\n{command}\n```', environments(runs)]
    return '\n\n'.join(part for part in parts if part) + '\n'


def mark_mixed(table: Table, grid: Grid, results: Results) -> bool:
    """Mark differences between trainings that were not made alike.

    Args:
        table (Table): What was trained; it says which rows are compared.
        grid (list): What :func:`difference_grid` gave; changed in place.
        results (Results): Those there are, by name of the cell and by seed.

    Returns:
        bool: Whether one is shown.
    """
    mixed = {
        f'{row} against {other}'
        for row, other in table.comparisons()
        if is_mixed(table, row, other, results)
    }
    marked = [line for line in grid[1:] if line[0] in mixed]
    for line in marked:
        line[0] += f' {MIXED}'
    return bool(marked)


def is_mixed(table: Table, row: str, other: str, results: Results) -> bool:
    """Whether a seed of two rows ran with unlike code, or elsewhere."""
    for column in table.columns:
        cells = [table.cells_of(x, column) for x in (row, other)]
        if not all(cells):
            continue
        runs = [results.get(cell.name, {}) for cell in sum(cells, [])]
        for seed in set.intersection(*map(set, runs)):
            alike = {str([getattr(r[seed], x) for x in SHARED]) for r in runs}
            if len(alike) > 1:
                return True
    return False


def seeds_of(table: Table, row: str, results: Results) -> List[int]:
    """Seeds of which a row has a figure."""
    found = (figures(table, row, c, results) for c in table.columns)
    return sorted(set().union(*found))


def with_seeds(table: Table, grid: Grid, results: Results) -> Grid:
    """A grid of figures with the seeds of each row behind it."""
    found = [[*grid[0], 'seeds']]
    title = ''
    for line in grid[1:]:
        title = line[0] or title
        own = not table.paper or line[1] == 'ours'
        own = own and not table.is_tested(title)
        text = seeds_text(table, title, results) if own else ''
        found.append([*line, text])
    return found


def seeds_text(table: Table, row: str, results: Results) -> str:
    """Seeds of a row, with the columns where these have others."""
    columns: Dict[str, List[str]] = {}
    for column in table.columns:
        seeds = spans(list(figures(table, row, column, results)))
        if seeds:
            columns.setdefault(seeds, []).append(column)
    if len(columns) < 2:
        return ''.join(columns)
    return '; '.join(f'{x}: {", ".join(y)}' for x, y in columns.items())


def spans(numbers: Sequence[int]) -> str:
    """``[0, 1, 2, 7]`` to ``'0–2, 7'``."""
    parts: List[List[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ', '.join(
        str(p[0]) if len(p) == 1 else f'{p[0]}–{p[-1]}' for p in parts
    )


def environments(runs: Sequence[Result]) -> str:
    """One sentence on machines, versions, commits and time."""
    versions = sorted(
        {', '.join(f'{k} {v}' for k, v in r.versions.items()) for r in runs}
    )
    commits = sorted({_short(r.commit) for r in runs})
    devices = sorted({r.device for r in runs})
    minutes = sum(r.cpu_minutes for r in runs)
    resumed = sum(r.resumed for r in runs)
    since = f' (of {resumed} that were resumed, since then)' if resumed else ''
    return (
        f'{len(runs)} trainings, {minutes:.0f} minutes of processor time'
        f'{since}, on {"; ".join(devices)}, with {"; ".join(versions)}, at '
        f'commit {", ".join(commits)}.'
    )


def _short(commit: Optional[str]) -> str:
    return commit[:9] if commit else 'unknown'
