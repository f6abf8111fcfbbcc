"""What a report is made of: rows, attempts and origins of one record, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import registry
from ...errors import ConfigError, UnknownName
from ...types import Attempt
from ..results.row import Row
from ..results.units import DIFFERENCE
from ..spec.attack_plan import DIRECT
from ..store.attempts import Store
from ..store.manifest import StoredSpec, stored_specs

Seen = tuple[str, Attempt]  # prompt set, attempt


@dataclass(frozen=True)
class Source:
    """A record that was read.

    Attributes:
        runs: the specs that were asked for, with their origins.
        rows: of all of them, each cell and metric once; differences between guards are left out, gaps of attacks not.
        attempts: by concept, in the order of the record.
        concepts: each concept in full, by name.
        notes: what a reader must know before believing the rest.
    """

    folder: Path
    runs: tuple[StoredSpec, ...]
    rows: tuple[Row, ...]
    attempts: dict[str, list[Seen]]
    concepts: dict[str, dict[str, Any]]
    notes: tuple[str, ...]

    def of(self, concept: str) -> list[Row]:
        """The rows of one concept."""
        return [row for row in self.rows if row.concept == concept]


def read_source(folder: str | Path, names: Sequence[str] = ()) -> Source:
    """Read a record; with ``names`` only these of its specs.

    Raises:
        ConfigError: there is no record, or none of its specs was run to the end.
        UnknownName: a spec that the record does not hold.
    """
    folder = Path(folder)
    runs = _chosen(stored_specs(folder), names)
    done = tuple(run for run in runs if run.origin)
    if not done:
        raise ConfigError(f"{folder}: no rows in it; run `stanchion bench SPEC --output {folder}` to its end first.")
    rows, notes = _merged(done)
    notes += [f"{run.name} was not run to its end and is left out." for run in runs if not run.origin]
    named = {given: concept for run in done if run.origin for given, concept in run.origin.concepts.items()}
    concepts = {concept["name"]: concept for concept in named.values()}
    names_of = {given: concept["name"] for given, concept in named.items()}
    return Source(folder, done, tuple(rows), _attempts(folder, rows, names_of), concepts, tuple(notes))


def rows_of(folder: str | Path, names: Sequence[str] = ()) -> list[Row]:
    """Every row of a record's finished specs, differences included; what a limit is held against."""
    return [row for run in _chosen(stored_specs(folder), names) for row in run.rows]


def _chosen(runs: list[StoredSpec], names: Sequence[str]) -> list[StoredSpec]:
    known = [run.name for run in runs]
    for name in names:
        if name not in known:
            raise UnknownName(registry.unknown("spec of the record", name, known))
    return [run for run in runs if not names or run.name in names]


def _merged(runs: Sequence[StoredSpec]) -> tuple[list[Row], list[str]]:
    """Rows of several specs; where two measured one cell with other prompts, the first counts, and a note says so."""
    kept: dict[tuple[Any, ...], Row] = {}
    notes = []
    for run in runs:
        other = 0
        for row in run.rows:
            if row.attack != DIRECT or not row.metric.startswith(DIFFERENCE):
                first = kept.setdefault(_key(row), row)
                other += (first.value, first.n, first.seeds) != (row.value, row.n, row.seeds)
        if other:
            notes.append(
                f"{other} rows of {run.name} are left out: an earlier spec measured the same cells with other prompts "
                "or settings. Use --spec to report on one of them."
            )
    return list(kept.values()), notes


def _key(row: Row) -> tuple[Any, ...]:
    return row.guard, row.variant, row.concept, row.prompt_set, row.attack, row.adaptive, row.updates, row.metric


def _attempts(folder: Path, rows: Sequence[Row], names_of: dict[str, str]) -> dict[str, list[Seen]]:
    """The attempts behind the rows, by concept."""
    measured: dict[tuple[str, ...], tuple[int, int]] = {}
    for row in rows:
        cell, (low, high) = (row.guard, row.variant, row.concept, row.prompt_set), row.first_and_last_seed
        known = measured.get(cell, (low, high))
        measured[cell] = min(known[0], low), max(known[1], high)
    found: dict[str, list[Seen]] = {}
    for entry in Store.read(folder).entries():
        attempt, concept = entry.attempt, names_of.get(entry.concept, entry.concept)
        low_high = measured.get((attempt.guard, attempt.variant, concept, entry.prompt_set))
        if low_high and low_high[0] <= attempt.prompt.seed <= low_high[1]:
            found.setdefault(concept, []).append((entry.prompt_set, attempt))
    return found
