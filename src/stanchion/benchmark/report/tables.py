"""Tables of a report: guards down, prompt sets or metrics across, each number with its interval and what it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..results.markdown import mixed
from ..results.row import Row
from ..results.units import higher_is_better, unit_of
from ..spec.attack_plan import DIRECT
from ..spec.variant import UNGUARDED

DRAWN, DRAWN_FROM_PICTURES = "Is the concept drawn?", "Is it drawn when one starts from a picture?"
KEPT, ELSE = "Is what is harmless kept?", "What else changes?"
WIDE = 4
"""A metric of the last kind with more prompt sets than this has a table of its own."""

Key = tuple[str, str]  # metric, prompt set


@dataclass(frozen=True)
class TableCell:
    """A number.

    Attributes:
        best: its interval lies apart from that of every other guard in the column.
        counted: others of the column count another number of pictures.
    """

    row: Row
    best: bool = False
    counted: bool = False

    @property
    def value(self) -> str:
        """The value in the metric's unit."""
        return "–" if self.row.value is None else unit_of(self.row.metric).number(self.row.value)

    @property
    def interval(self) -> str:
        """The 95 % interval in the metric's unit."""
        return unit_of(self.row.metric).interval(self.row.low, self.row.high)


@dataclass(frozen=True)
class Column:
    """A metric on a prompt set.

    Attributes:
        better: "higher", "lower", or nothing where neither is better.
        n: how many pictures a number counts: "200", or "180–200" where guards differ.
    """

    prompt_set: str
    metric: str
    sign: str
    better: str
    n: str


@dataclass(frozen=True)
class Table:
    """Titles of the guards and, for each, one cell a column (None where it was not measured)."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[tuple[str, tuple[TableCell | None, ...]], ...]

    @property
    def metric(self) -> Column | None:
        """Any column, where all are of one metric: a heading can say it once for all."""
        return self.columns[0] if len({column.metric for column in self.columns}) == 1 else None


def tables(rows: Sequence[Row], from_pictures: Collection[str]) -> list[Table]:
    """The tables of one concept's rows without attack: what is drawn, what is kept, and what else is changed.

    Args:
        from_pictures: prompt sets of image to image; few guards are measured on them, and they have their own table.
    """
    direct = [row for row in rows if row.attack == DIRECT]
    groups: dict[str, list[Key]] = {title: [] for title in (DRAWN, DRAWN_FROM_PICTURES, KEPT, ELSE)}
    keys = list(dict.fromkeys((row.metric, row.prompt_set) for row in direct))
    counts = Counter((metric, prompt_set in from_pictures) for metric, prompt_set in keys)
    for metric, prompt_set in keys:
        route = metric, prompt_set in from_pictures
        title = _group(*route)
        if title == ELSE and counts[route] > WIDE:
            title = metric.replace("_", " ").capitalize() + (", starting from a picture" if route[1] else "")
        groups.setdefault(title, []).append((metric, prompt_set))
    return [_table(title, keys, direct) for title, keys in groups.items() if keys]


def _group(metric: str, from_picture: bool) -> str:
    if metric in ("unsafe_rate", "asr"):
        return DRAWN_FROM_PICTURES if from_picture else DRAWN
    return KEPT if unit_of(metric).sign == "%" and higher_is_better(metric) else ELSE


def _table(title: str, keys: Sequence[Key], rows: Sequence[Row]) -> Table:
    at = {(row.title, row.metric, row.prompt_set): row for row in rows}
    guards = [name for name in dict.fromkeys(row.title for row in rows) if any((name, *key) in at for key in keys)]
    best = {key: _best([row for row in rows if (row.metric, row.prompt_set) == key]) for key in keys}
    counted = {key for key in keys if mixed(row for row in rows if (row.metric, row.prompt_set) == key)}
    lines: list[tuple[str, tuple[TableCell | None, ...]]] = []
    for name in guards:
        rows_by_key = {key: at[name, *key] for key in keys if (name, *key) in at}
        cells = {key: TableCell(row, row is best[key], key in counted) for key, row in rows_by_key.items()}
        lines.append((name, tuple(cells.get(key) for key in keys)))
    columns = tuple(_column(key, [row for row in rows if (row.metric, row.prompt_set) == key]) for key in keys)
    return Table(title, columns, tuple(lines))


def _column(key: Key, rows: Sequence[Row]) -> Column:
    metric, prompt_set = key
    better = {True: "higher", False: "lower", None: ""}[higher_is_better(metric)]
    counts = sorted({row.n for row in rows})
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return Column(prompt_set, metric, unit_of(metric).sign, better, n)


def _best(rows: Sequence[Row]) -> Row | None:
    """The guard that is better than every other beyond doubt: its interval touches none of theirs."""
    higher = higher_is_better(rows[0].metric)
    guarded = [row for row in rows if row.guard != UNGUARDED and row.low is not None and row.high is not None]
    if higher is None or len(guarded) < 2:
        return None
    key = (lambda row: row.low) if higher else (lambda row: -row.high)
    first, *others = sorted(guarded, key=key, reverse=True)
    apart = all(first.low > row.high if higher else first.high < row.low for row in others)  # type: ignore[operator]
    return first if apart else None
