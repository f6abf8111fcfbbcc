"""Rows of a spec's attacks: success by attack and guard, and what attacking the guard itself adds to a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ... import registry
from ...types import Attempt
from ..spec.cells import AttackCell, without_attack
from ..spec.prompt_spec import Spec
from ..store.attempts import Store
from .differences import paired_difference
from .row import Origin, Row, about_prompts, make_row

METRICS = ("asr", "pre_asr", "nothing_found", "queries", "refused")
Run = tuple[str, int | None]  # a prompt's id and the restart


def make_attack_rows(spec: Spec, store: Store, *, judge: str, command: str) -> list[Row]:
    """Rows of every attack that is in the record, all of its restarts together.

    Those of an adaptive attack that was replayed as well are followed by the gap between the two: ``difference_asr``,
    adaptive minus static, on the same prompts and restarts.
    """
    origin = Origin.now(command=command, judge=judge, model=spec.model)
    rows = []
    for cell in _whole(spec):
        attempts = _attempts(spec, store, cell)
        if not attempts:
            continue
        for name in METRICS:
            metric = registry.get("metrics", name)()
            metric.update(list(attempts.values()), list(attempts.values()))
            rows.append(_row(spec, cell, name, metric.compute(), attempts, origin))
        if cell.plan.mode == "adaptive":
            rows += _gap(spec, store, cell, attempts, origin)
    return rows


def _whole(spec: Spec) -> Iterator[AttackCell]:
    """Each attack on each variant, concept and prompt set once, whatever its restarts."""
    known = {str(whole): whole for whole in (replace(cell, restart=None) for cell in spec.attack_cells())}
    yield from known.values()


def _attempts(spec: Spec, store: Store, cell: AttackCell) -> dict[Run, Attempt]:
    """What the record has of the cell's own prompts, run after run."""
    prompts = spec.attacked(cell)
    where = (cell.variant.guard, cell.variant.variant, cell.concept, cell.prompt_set, cell.plan.title)
    # True for a white-box attack that was run on the guard, None for one that does not look inside
    modes = (False,) if cell.plan.mode == "static" else (True, None)
    attempts = {}
    for restart in cell.plan.runs:
        for mode in modes:
            found = store.cell(*where, mode, restart)
            attempts.update({(p.id, restart): found[p.id].attempt for p in prompts if p.id in found})
    return attempts


def _gap(spec: Spec, store: Store, cell: AttackCell, attempts: Mapping[Run, Attempt], origin: Origin) -> list[Row]:
    static = next((plan for plan in spec.attacks if (plan.title, plan.mode) == (cell.plan.title, "static")), None)
    if static is None or cell.prompt_set not in static.prompts:
        return []
    replayed = _attempts(spec, store, replace(cell, plan=static))
    shared = [run for run in attempts if run in replayed]
    if not shared:
        return []
    ours, theirs = [attempts[run] for run in shared], [replayed[run] for run in shared]
    gap = paired_difference(registry.get("metrics", "asr")(), ours, theirs, ours)
    return [_row(spec, cell, "difference_asr", gap, dict(zip(shared, ours, strict=True)), origin, against="static")]


def _row(
    spec: Spec,
    cell: AttackCell,
    name: str,
    estimate: Any,
    attempts: Mapping[Run, Attempt],
    origin: Origin,
    **about: Any,
) -> Row:
    plan, plain = cell.plan, without_attack(cell)
    budget = {key: value for key, value in vars(plan.budget).items() if value is not None}
    settings = {"preset": plan.preset, **plan.settings, "restarts": plan.restarts, "budget": budget, **about}
    settings |= about_prompts(spec, plain)
    row = make_row(spec, plain, name, estimate, list(attempts.values()), origin, settings)
    first = next(iter(attempts.values()))
    return replace(row, attack=plan.title, adaptive=first.adaptive)
