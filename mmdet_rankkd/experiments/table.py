"""Tables of trainings: rows of methods, columns of pairs, several seeds.

A table is a file in ``configs/sweeps``: a set of cells, the pair (and perhaps
settings) of each column, the method (and perhaps settings) of each row, and
the numbers of the paper.
"""

import itertools
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from mmengine.config import Config

from .cells import (
    CONFIGS,
    TEACHER,
    CellSet,
    LossSettings,
    Settings,
    cell_name,
    choose,
    compose,
    from_facts,
    pair_names,
    read_cells,
    read_config,
    read_facts,
    set_losses,
)
from .metrics import Metric, find_metric

TABLES = CONFIGS / 'sweeps'


@dataclass(frozen=True)
class Row:
    """A method, and what its trainings do otherwise.

    Attributes:
        method (str, optional): Method of the set of cells, or ``'teacher'``,
            which is tested and not trained; a row without one shows the
            paper's numbers alone.
        set (dict): Arguments of losses by their class.
        options (dict): Any other settings of the config, by their keys.
        against (Sequence[str], optional): Rows that it is compared with. By
            default, ``<method>+rank`` is with the first row of ``<method>``.
        columns (Sequence[str], optional): Titles of those that it is trained
            for, where the method does not apply to all.
        grid (dict): Several rows in place of this one: under ``'set'`` lists
            of values by ``'<loss>.<argument>'``, under ``'options'`` by key.
    """

    method: Optional[str] = None
    set: LossSettings = field(default_factory=dict)
    options: Settings = field(default_factory=dict)
    against: Optional[Sequence[str]] = None
    columns: Optional[Sequence[str]] = None
    grid: Dict[str, Dict[str, list]] = field(default_factory=dict)

    def applies_to(self, column: str) -> bool:
        """Whether it belongs to a column."""
        return self.columns is None or column in self.columns


@dataclass(frozen=True)
class Column:
    """A pair of networks, and the figure that is shown of it.

    Attributes:
        pair (str, optional): Pair of the set of cells.
        pairs (Sequence[str]): Several, whose average is shown.
        set (dict): Arguments of losses by their class.
        options (dict): Any other settings of the config, by their keys.
        metric (str, optional): Metric of ``METRICS``, or the key of a logged
            figure; that of the task by default.
        epoch (str, optional): ``'last'`` or ``'best'``; what is asked for
            when the table is shown by default.
    """

    pair: Optional[str] = None
    pairs: Sequence[str] = ()
    set: LossSettings = field(default_factory=dict)
    options: Settings = field(default_factory=dict)
    metric: Optional[str] = None
    epoch: Optional[str] = None

    @property
    def all_pairs(self) -> Tuple[str, ...]:
        """The one pair, or those that are averaged over."""
        return (self.pair,) if self.pair else tuple(self.pairs)


@dataclass(frozen=True)
class Cell:
    """One training of a table, without its seed, or a test.

    Attributes:
        name (str): Name of its folder.
        pair (str): One of the set of cells.
        compose (Callable): Makes its config, which pages do not need.
        checkpoint (str, optional): Weights to test in place of a training.
    """

    name: str
    pair: str
    compose: Callable[[], Config]
    checkpoint: Optional[str] = None

    @cached_property
    def config(self) -> Config:
        """What is trained, or tested."""
        return self.compose()


@dataclass(frozen=True)
class Table:
    """A table of trainings.

    Attributes:
        name (str): Name of its file.
        title (str): What it shows.
        cells (CellSet): Where its pairs and methods are.
        rows (dict): Rows by their titles.
        columns (dict): Columns by their titles.
        seeds (Sequence[int]): Those of each training by default.
        paper (dict): The paper's numbers by row, one a column or None.
        decimals (int): Decimals of the figures.
        note (str): What a reader of its page should know.
        grids (dict): The rows of each grid by its title, which names them
            all; not an entry of the file.
    """

    name: str
    title: str
    cells: CellSet
    rows: Dict[str, Row]
    columns: Dict[str, Column]
    seeds: Sequence[int] = (0,)
    paper: Dict[str, List[Optional[float]]] = field(default_factory=dict)
    decimals: int = 2
    note: str = ''
    grids: Dict[str, List[str]] = field(default_factory=dict)

    def metric(self, column: str) -> Metric:
        """The figure of a column."""
        name = self.columns[column].metric or self.cells.kind.metric
        return find_metric(name)

    def find_rows(self, names: Optional[Sequence[str]] = None) -> List[str]:
        """Titles of rows, named by title, by a method that one row has, or all
        those of a grid by its title.

        Raises:
            ValueError: If a name is none of them.
        """
        if names is None:
            return list(self.rows)
        methods = [row.method for row in self.rows.values()]
        found = {
            row.method: [title]
            for title, row in self.rows.items()
            if row.method and methods.count(row.method) == 1
        }
        found.update({title: [title] for title in self.rows}, **self.grids)
        unknown = [name for name in names if name not in found]
        if unknown:
            of_grids = {row for rows in self.grids.values() for row in rows}
            alone = [row for row in self.rows if row not in of_grids]
            raise ValueError(
                f'no rows {unknown} in {self.name}; there are '
                + ', '.join(map(repr, [*alone, *self.grids]))
            )
        return list(dict.fromkeys(t for name in names for t in found[name]))

    def find_columns(self, names: Optional[Sequence[str]] = None) -> List[str]:
        """Titles of columns.

        Raises:
            ValueError: If a name is none of them.
        """
        unknown = [n for n in names or () if n not in self.columns]
        if unknown:
            raise ValueError(
                f'no columns {unknown} in {self.name}; there are '
                + ', '.join(map(repr, self.columns))
            )
        return list(names or self.columns)

    def is_tested(self, row: str) -> bool:
        """Whether a row is of the teacher, of which nothing is trained."""
        return self.rows[row].method == TEACHER

    def cells_of(self, row: str, column: str) -> List[Cell]:
        """The trainings whose mean is one number of the table.

        Returns:
            list[Cell]: One a pair of the column; empty where the row has no
            method, or not for this column.
        """
        wanted, place = self.rows[row], self.columns[column]
        if wanted.method is None or not wanted.applies_to(column):
            return []
        if self.is_tested(row):
            return [teacher_cell(self.cells, x) for x in place.all_pairs]
        losses: LossSettings = {}
        for part in (place.set, wanted.set):
            for loss, arguments in part.items():
                losses[loss] = {**losses.get(loss, {}), **arguments}
        options = {**place.options, **wanted.options}
        return [
            Cell(
                cell_name(pair, wanted.method, losses, options),
                pair,
                partial(
                    compose, self.cells, pair, wanted.method, losses, options
                ),
            )
            for pair in place.all_pairs
        ]

    def plan(
        self,
        rows: Optional[Sequence[str]] = None,
        columns: Optional[Sequence[str]] = None,
    ) -> List[Cell]:
        """The trainings of the table, each once.

        Raises:
            ValueError: If a row or column is not there.
        """
        found: Dict[str, Cell] = {}
        for row in self.find_rows(rows):
            for column in self.find_columns(columns):
                for cell in self.cells_of(row, column):
                    found[cell.name] = cell
        return list(found.values())

    def comparisons(
        self, rows: Optional[Sequence[str]] = None
    ) -> List[Tuple[str, str]]:
        """Rows that are compared, and with which."""
        shown = self.find_rows(rows)
        found = []
        for title in shown:
            row = self.rows[title]
            others = row.against
            if others is None:
                base, plus, _ = (row.method or '').rpartition('+')
                others = [t for t in shown if self.rows[t].method == base][:1]
                others = others if plus else []
            found += [(title, other) for other in others if other in shown]
        return found


def teacher_cell(cells: CellSet, pair: str) -> Cell:
    """The test of the teacher of a pair."""
    teacher = cells.teacher_of(pair)

    def compose_test() -> Config:
        config = read_config(teacher['config'])
        config.load_from = None  # a full path, of where its training began
        return config

    name = f'teacher_{pair_names(pair)[0]}'
    return Cell(name, pair, compose_test, teacher['checkpoint'])


def read_table(path: str) -> Table:
    """Read a table, given as a file or by its name in ``configs/sweeps``.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If an entry is missing, unknown, or names a set of cells,
            a pair, a method, a loss, a metric or a row that is not there, or
            if a row of the paper's numbers has another length than the
            columns.
    """
    file = Path(path)
    if not file.is_file():
        file = TABLES / f'{path}.py'
    if not file.is_file():
        names = ', '.join(sorted(p.stem for p in TABLES.glob('*.py')))
        raise FileNotFoundError(
            f'{path!r} is neither a file nor one of the tables: {names}'
        )
    facts = read_facts(file)
    raw = from_facts(Table, facts, str(file), name=file.stem, grids={})
    rows: Dict[str, Row] = {}
    grids: Dict[str, List[str]] = {}
    for title, entry in facts['rows'].items():
        row = from_facts(Row, entry, f'{file}: row {title!r}')
        expanded = expand(title, row)
        rows.update(expanded)
        if row.grid:
            grids[title] = list(expanded)
    columns = {
        title: from_facts(Column, entry, f'{file}: column {title!r}')
        for title, entry in facts['columns'].items()
    }
    cells = read_cells(facts['cells'])
    table = replace(raw, cells=cells, rows=rows, columns=columns, grids=grids)
    try:
        check(table)
    except ValueError as error:
        raise ValueError(f'{file}: {error}') from error
    return table


def expand(title: str, row: Row) -> Dict[str, Row]:
    """The rows of a grid; a row without one is itself.

    Raises:
        ValueError: If the grid is not one of lists of values.
    """
    if not row.grid:
        return {title: row}
    axes = []
    for kind, settings in row.grid.items():
        choose(f"entry of row {title!r}'s grid", kind, dict(set=0, options=0))
        for key, values in settings.items():
            if kind == 'set' and key.count('.') != 1:
                raise ValueError(
                    f'row {title!r}: expected <loss>.<argument>, got {key!r}'
                )
            axes.append([(kind, key, value) for value in values])
    found = {}
    for point in itertools.product(*axes):
        losses = {name: dict(given) for name, given in row.set.items()}
        options = dict(row.options)
        names = [title]
        for kind, key, value in point:
            names.append(f'{key.split(".")[-1]}={value}')
            if kind == 'set':
                loss, argument = key.split('.')
                losses.setdefault(loss, {})[argument] = value
            else:
                options[key] = value
        found[', '.join(names)] = replace(
            row, set=losses, options=options, grid={}
        )
    return found


def check(table: Table) -> None:
    """Raise ValueError if a table names something that is not there."""
    for title, column in table.columns.items():
        table.metric(title)
        if not column.all_pairs:
            raise ValueError(f'column {title!r} has no pair')
        if column.epoch not in (None, 'last', 'best'):
            raise ValueError(
                f"column {title!r}: epoch is 'last' or 'best', got "
                f'{column.epoch!r}'
            )
    for title, row in table.rows.items():
        for other in row.against or ():
            choose(f'row (that {title!r} is against)', other, table.rows)
        for name in row.columns or ():
            choose(f'column (of row {title!r})', name, table.columns)
        if table.is_tested(title):
            if row.set or row.options:
                raise ValueError(
                    f'row {title!r} is of the teacher, which is tested as it '
                    'is: it takes neither set nor options'
                )
            continue
        for name, column in table.columns.items():
            if not row.applies_to(name):
                continue
            for pair in column.all_pairs:
                try:
                    method = table.cells.method(pair, row.method or 'alone')
                    if row.method:
                        set_losses(method.losses, column.set)
                        set_losses(method.losses, row.set)
                except ValueError as error:
                    raise ValueError(
                        f'row {title!r}, column {name!r}: {error}'
                    ) from error
    for title, numbers in table.paper.items():
        choose("row (of the paper's numbers)", title, table.rows)
        if len(numbers) != len(table.columns):
            raise ValueError(
                f'the paper has {len(numbers)} numbers in row {title!r}, but '
                f'there are {len(table.columns)} columns'
            )
