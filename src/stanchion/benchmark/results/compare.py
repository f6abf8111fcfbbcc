"""What changed between two measurements: paired by prompt and seed where both are records, else by intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os.path import isdir
from pathlib import Path
from typing import Literal

from ... import registry
from ...errors import ConfigError
from ...metrics.base import Rate
from ...types import Attempt, Estimate
from ..report.source import Source, read_source
from ..spec.attack_plan import DIRECT
from ..spec.variant import UNGUARDED
from .differences import paired_difference
from .row import Row, read_rows
from .units import DIFFERENCE, higher_is_better

Outcome = Literal["better", "worse", "changed", "same"]
Key = tuple[object, ...]


@dataclass(frozen=True)
class Change:
    """One number in both measurements.

    Attributes:
        difference: second minus first; with the interval of the paired difference where prompts are shared.
        n: pairs, or 0 where nothing was paired and only the two intervals are compared.
        outcome: "same" where 0 lies in the difference's interval, or where the two intervals overlap; else "better"
            or "worse", or "changed" for a metric that is neither good nor bad by itself.
    """

    first: Row
    second: Row
    difference: float
    low: float | None
    high: float | None
    n: int
    outcome: Outcome


@dataclass(frozen=True)
class Side:
    """One measurement: its rows by what they measure, and, for a record, the attempts behind them."""

    rows: dict[Key, Row]
    attempts: dict[Key, dict[Key, Attempt]]


def compare(first: str | Path, second: str | Path) -> list[Change]:
    """Every number that both hold, in the order of the first.

    Args:
        first, second: folders of records, or files of rows as in results/.

    Raises:
        ConfigError: one of them can't be read, or they have no number in common.
    """
    one, other = read_side(first), read_side(second)
    changes = [_change(one, other, key) for key in one.rows if key in other.rows]
    if not changes:
        raise ConfigError(f"{first} and {second} measured nothing in common: no guard, concept, prompt set and metric.")
    return [change for change in changes if change]


def read_side(path: str | Path) -> Side:
    """A record or a file of rows."""
    if isdir(path):
        source = read_source(path)
        return Side(_numbers(source.rows), _by_cell(source))
    return Side(_numbers(read_rows(path)), {})


def _numbers(rows: Iterable[Row]) -> dict[Key, Row]:
    """Without differences, which are comparisons themselves."""
    return {_key(row): row for row in rows if not row.metric.startswith(DIFFERENCE)}


def _key(row: Row) -> Key:
    return (*_cell(row), row.attack, row.adaptive, row.updates, row.metric)


def _cell(row: Row) -> Key:
    return row.guard, row.variant, row.concept, row.prompt_set


def _by_cell(source: Source) -> dict[Key, dict[Key, Attempt]]:
    """Attempts without attack of each cell, by what they were drawn from."""
    cells: dict[Key, dict[Key, Attempt]] = {}
    for concept, seen in source.attempts.items():
        for prompt_set, attempt in seen:
            if attempt.attack == DIRECT:
                prompt = attempt.prompt
                cell = cells.setdefault((attempt.guard, attempt.variant, concept, prompt_set), {})
                cell[prompt.text, prompt.seed, prompt.start] = attempt
    return cells


def _change(one: Side, other: Side, key: Key) -> Change | None:
    """None where neither could be scored: then there is nothing to compare."""
    first, second = one.rows[key], other.rows[key]
    if first.value is None or second.value is None:
        return None
    if paired := _paired(one, other, first):
        outcome = _outcome(first.metric, paired.value, apart=not paired.low <= 0 <= paired.high)
        return Change(first, second, paired.value, paired.low, paired.high, paired.n, outcome)
    difference = second.value - first.value
    return Change(
        first, second, difference, None, None, 0, _outcome(first.metric, difference, apart=_apart(first, second))
    )


def _paired(one: Side, other: Side, row: Row) -> Estimate | None:
    """Second minus first over shared prompts and seeds; None where there are none, or for what is no rate."""
    made = registry.get("metrics", row.metric) if row.metric in registry.names("metrics") else None
    if not (made and issubclass(made, Rate) and row.attack == DIRECT):
        return None
    cells = [side.attempts.get(_cell(row), {}) for side in (other, one)]
    twins = [side.attempts.get((UNGUARDED, "default", *_cell(row)[2:]), {}) for side in (other, one)]
    shared = [name for name in cells[0] if all(name in found for found in (*cells, *twins))]
    if not shared:
        return None
    second, first, second_twins, first_twins = ([found[name] for name in shared] for found in (*cells, *twins))
    return paired_difference(made(), second, first, second_twins, first_twins)


def _apart(first: Row, second: Row) -> bool:
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return False
    return first.high < second.low or second.high < first.low


def _outcome(metric: str, difference: float, *, apart: bool) -> Outcome:
    if not apart:
        return "same"
    higher = higher_is_better(metric)
    if higher is None:
        return "changed"
    return "better" if (difference > 0) == higher else "worse"
