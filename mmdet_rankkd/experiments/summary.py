"""The figures of a table, its printed forms, and what follows from it."""

import html
from statistics import mean, stdev
from typing import Dict, List, Optional, Sequence

from .differences import Difference, paired_difference
from .result import Results
from .table import Table

#: The cells of a printed table, header first.
Grid = List[List[str]]


def figures(
    table: Table,
    row: str,
    column: str,
    results: Results,
    epoch: str = 'last',
) -> Dict[int, float]:
    """The figure of a row and a column by seed.

    Where a column is an average over pairs, it has the seeds that all of
    them have. Trainings that did not log the figure are left out.

    Args:
        table (Table): Table of the row and column.
        row (str): Its title.
        column (str): Its title.
        results (Results): Results by name of the cell and by seed.
        epoch (str): ``'last'`` or ``'best'``, where the column does not say.
    """
    metric = table.metric(column)
    epoch = table.columns[column].epoch or epoch
    runs = [results.get(c.name, {}) for c in table.cells_of(row, column)]
    seeds = set.intersection(*(set(r) for r in runs)) if runs else set()
    found = {}
    for seed in sorted(seeds):
        chosen = [
            r[seed].best if epoch == 'best' else r[seed].last for r in runs
        ]
        values = [metric.read(metrics) for metrics in chosen]
        known = [v for v in values if v is not None]
        if len(known) == len(values):
            found[seed] = mean(known)
    return found


def has_run(table: Table, row: str, column: str, results: Results) -> bool:
    """Whether there are results of all cells of a row and a column."""
    cells = table.cells_of(row, column)
    return bool(cells) and all(cell.name in results for cell in cells)


def decimals_of(table: Table, column: str) -> int:
    """Decimals of the figures of a column."""
    decimals = table.metric(column).decimals
    return table.decimals if decimals is None else decimals


def with_deviation(values: Sequence[float], decimals: int) -> str:
    """``mean ± standard deviation``, or the value of a single seed."""
    text = f'{mean(values):.{decimals}f}'
    if len(values) > 1:
        text += f' ± {stdev(values):.{decimals}f}'
    return text


def figure_grid(
    table: Table,
    results: Results,
    rows: Optional[Sequence[str]] = None,
    epoch: str = 'last',
) -> Grid:
    """The table: the paper's numbers if it has any, ours where they ran."""
    grid = [['', *(['of'] if table.paper else []), *table.columns]]
    for title in table.find_rows(rows):
        row = table.rows[title]
        state = 'not there yet' if row.method is None else 'not run'
        cells = []
        for column in table.columns:
            values = figures(table, title, column, results, epoch)
            decimals = decimals_of(table, column)
            if values:
                text = with_deviation(list(values.values()), decimals)
            elif has_run(table, title, column, results):
                text = '–' if table.is_tested(title) else 'not logged'
            elif row.applies_to(column):
                text = state
            else:
                text = '–'
            cells.append(text)
        if not table.paper:
            grid.append([title, *cells])
            continue
        lacking = all(cell == state for cell in cells)
        paper = table.paper.get(title)
        if paper:
            of = f'paper; ours {state}' if lacking else 'paper'
            grid.append(
                [title, of, *('' if x is None else f'{x:.2f}' for x in paper)]
            )
        if not (paper and lacking):
            grid.append(['' if paper else title, 'ours', *cells])
    return grid


def difference(
    table: Table,
    row: str,
    other: str,
    column: str,
    results: Results,
    epoch: str = 'last',
) -> Optional[Difference]:
    """What a row has more than another in a column, seed by seed.

    Raises:
        ValueError: If a figure is not finite.
    """
    try:
        return paired_difference(
            figures(table, row, column, results, epoch),
            figures(table, other, column, results, epoch),
        )
    except ValueError as error:
        raise ValueError(
            f'{table.name}, {column} of {row!r} against {other!r}: {error}'
        ) from error


def difference_grid(
    table: Table,
    results: Results,
    rows: Optional[Sequence[str]] = None,
    epoch: str = 'last',
) -> Grid:
    """Rows that are compared: mean, 95 % interval, and what follows.

    Comparisons of which nothing ran are left out.
    """
    grid = [['difference', *table.columns]]
    for row, other in table.comparisons(rows):
        cells = []
        for column in table.columns:
            found = difference(table, row, other, column, results, epoch)
            cells.append(
                short(found, decimals_of(table, column)) if found else ''
            )
        if any(cells):
            grid.append([f'{row} against {other}', *cells])
    return grid


def short(found: Difference, decimals: int) -> str:
    """``+0.80 [-0.10, +1.70] no difference seen``."""
    text = f'{found.mean:+.{decimals}f}'
    if found.interval:
        low, high = found.interval
        text += f' [{low:+.{decimals}f}, {high:+.{decimals}f}]'
    return f'{text} {found.word}'


def verdict(
    table: Table,
    results: Results,
    rows: Optional[Sequence[str]] = None,
    epoch: str = 'last',
) -> str:
    """The comparisons of the first column, seed by seed, in sentences."""
    column = next(iter(table.columns))
    decimals = decimals_of(table, column)
    lines = []
    for row, other in table.comparisons(rows):
        found = difference(table, row, other, column, results, epoch)
        if found is None:
            continue
        line = f'{row} against {other}: {found.mean:+.{decimals}f} {column}'
        if found.interval:
            low, high = found.interval
            each = ', '.join(
                f'{x:+.{decimals}f}' for x in found.by_seed.values()
            )
            line += (
                f', 95 % interval {low:+.{decimals}f} to {high:+.{decimals}f}'
                f' ({each}, by seed)'
            )
        lines.append(f'{line}: {found.word}.')
    return '\n'.join(lines)


def to_text(grid: Grid) -> str:
    """A grid for the terminal: names at the left, figures at the right."""
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    lines = [
        '  '.join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths))
        )
        for row in grid
    ]
    lines.insert(1, '-' * len(lines[0]))
    return '\n'.join('  ' + line for line in lines)


def to_markdown(grid: Grid) -> str:
    """A grid as Markdown."""
    lines = ['| ' + ' | '.join(row) + ' |' for row in grid]
    lines.insert(1, '|' + '---|' * len(grid[0]))
    return '\n'.join(lines)


def to_html(grid: Grid) -> str:
    """A grid as an HTML table; the word behind an interval on its own line."""
    head, *body = [
        ''.join(
            f'<{tag}>{html.escape(cell).replace("] ", "]<br>")}</{tag}>'
            for cell in row
        )
        for row, tag in zip(grid, ['th'] + ['td'] * len(grid))
    ]
    rows = ''.join(f'<tr>{row}</tr>' for row in body)
    return (
        f'<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )
