"""From a record to the rows of ``results/*.json``: one for each cell and metric. Needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import registry
from ..concepts import load_concept
from ..types import Attempt
from .provenance import commit, machine
from .spec import Cell, Spec
from .store import Store


@dataclass(frozen=True)
class Row:
    """One measured number and all that it takes to make it again. ``low`` and ``high`` are the 95 % interval."""

    guard: str
    variant: str
    concept: str
    kind: str
    prompt_set: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    n_unscored: int
    seeds: str
    judge: str
    model: str
    command: str
    commit: str
    machine: str
    attack: str = "direct"
    adaptive: bool | None = None
    updates: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    reported: float | None = None
    source: str | None = None


def make_rows(spec: Spec, store: Store, *, judge: str, command: str) -> list[Row]:
    """Rows of every cell whose attempts are in the record; ``judge`` is the judge's identity."""
    origin = {"judge": judge, "model": spec.model, "command": command, "commit": commit(), "machine": machine()}
    return [row for cell in spec.cells() for row in _cell_rows(spec, store, cell, origin)]


def write_rows(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows as JSON, one to a line, so that two versions can be compared by eye."""
    lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _cell_rows(spec: Spec, store: Store, cell: Cell, origin: dict[str, Any]) -> list[Row]:
    attempts = _attempts(spec, store, cell)
    if not attempts:
        return []
    unguarded = {
        attempt.prompt.id: attempt for attempt in _attempts(spec, store, replace(cell, variant=spec.variants[0]))
    }
    twins = [unguarded[attempt.prompt.id] for attempt in attempts]
    role = registry.get("prompts", cell.prompt_set).role
    rows = []
    for name in spec.metrics or registry.names("metrics"):
        metric = registry.get("metrics", name)()
        if role in metric.roles:
            metric.update(attempts, twins)
            rows.append(_row(spec, cell, name, metric.compute(), _seeds(attempts), origin))
    return rows


def _attempts(spec: Spec, store: Store, cell: Cell) -> list[Attempt]:
    """What the record has of the spec's own prompts; it may hold others from an earlier spec."""
    found = store.cell(cell.variant.guard, cell.variant.variant, cell.concept, cell.prompt_set)
    stored = [(prompt, found[prompt.id].attempt) for prompt in spec.rows(cell) if prompt.id in found]
    return [attempt for prompt, attempt in stored if attempt.prompt == prompt]


def _row(spec: Spec, cell: Cell, name: str, estimate: Any, seeds: str, origin: dict[str, Any]) -> Row:
    drawing = {"steps": spec.steps, "guidance_scale": spec.guidance_scale, "batch": spec.batch}
    concept = load_concept(cell.concept)
    return Row(
        guard=cell.variant.guard,
        variant=cell.variant.variant,
        concept=concept.name,
        kind=concept.kind,
        prompt_set=cell.prompt_set,
        metric=name,
        value=_number(estimate.value),
        low=_number(estimate.low),
        high=_number(estimate.high),
        n=estimate.n,
        n_unscored=estimate.n_unscored,
        seeds=seeds,
        settings={**drawing, **cell.variant.settings},
        **origin,
    )


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _seeds(attempts: Sequence[Attempt]) -> str:
    seeds = sorted(attempt.prompt.seed for attempt in attempts)
    return f"{seeds[0]}-{seeds[-1]}"
