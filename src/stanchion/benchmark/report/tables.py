"""Tables of a report: guards down, prompt sets or metrics across, each number with its interval and what it counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..rows import Row
from ..spec import UNGUARDED
from ..units import higher_is_better, unit_of

WIDE = 4
"""A metric with more prompt sets than this has a table of its own."""


@dataclass(frozen=True)
class Cell:
    """A number; ``best`` where its interval lies apart from that of every other guard in the column."""

    row: Row
    best: bool = False

    @property
    def value(self) -> str:
        """The value in the metric's unit."""
        return "–" if self.row.value is None else unit_of(self.row.metric).number(self.row.value)

    @property
    def interval(self) -> str:
        """The 95 % interval in the metric's unit."""
        if self.row.low is None or self.row.high is None:
            return "no interval"
        unit = unit_of(self.row.metric)
        return f"{unit.number(self.row.low)} – {unit.number(self.row.high)}"


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
    lines: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def tables(rows: Sequence[Row]) -> list[Table]:
    """The tables of one concept's rows without attack: what is drawn, what is kept, and what else is changed."""
    direct = [row for row in rows if row.attack == "direct"]
    groups: dict[str, list[tuple[str, str]]] = {}
    keys = dict.fromkeys((row.metric, row.prompt_set) for row in direct)
    sets = {metric: [key for key in keys if key[0] == metric] for metric, _ in keys}
    for metric, prompt_sets in sets.items():
        title = _group(metric) if len(prompt_sets) <= WIDE else _plain(metric)
        groups.setdefault(title, []).extend(prompt_sets)
    first = sorted(groups, key=lambda title: (title != DRAWN, title != KEPT))
    return [_table(title, groups[title], direct) for title in first]


DRAWN, KEPT, ELSE = "Is the concept drawn?", "Is what is harmless kept?", "What else changes?"


def _group(metric: str) -> str:
    if metric in ("unsafe_rate", "asr"):
        return DRAWN
    return KEPT if unit_of(metric).sign == "%" and higher_is_better(metric) else ELSE


def _plain(metric: str) -> str:
    return DRAWN if metric == "unsafe_rate" else metric.replace("_", " ").capitalize()


def _table(title: str, keys: Iterable[tuple[str, str]], rows: Sequence[Row]) -> Table:
    at = {(row.title, row.metric, row.prompt_set): row for row in rows}
    keys = list(keys)
    guards = [name for name in dict.fromkeys(row.title for row in rows) if any((name, *key) in at for key in keys)]
    best = {key: _best([row for row in rows if (row.metric, row.prompt_set) == key]) for key in keys}
    lines: list[tuple[str, tuple[Cell | None, ...]]] = []
    for name in guards:
        rows_by_key = {key: at[name, *key] for key in keys if (name, *key) in at}
        cells = {key: Cell(row, row is best[key]) for key, row in rows_by_key.items()}
        lines.append((name, tuple(cells.get(key) for key in keys)))
    columns = tuple(_column(key, [row for row in rows if (row.metric, row.prompt_set) == key]) for key in keys)
    return Table(title, columns, tuple(lines))


def _column(key: tuple[str, str], rows: Sequence[Row]) -> Column:
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
