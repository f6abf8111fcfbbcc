"""Carries out a spec's cells, as many as are asked for, and makes rows of those that are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from .... import config
from ....judges import load_judge
from ...results.from_curves import curve_rows, unguarded_rate
from ...results.row import Row
from ...spec.weight_spec import DIRECT, Cell, WeightSpec, attack_of, cells_of, reference_of
from ...store.curve import pooled
from ...store.curves import Record
from ...store.provenance import commit, machine
from .driver import Driver
from .goals import goal_of


def fill(
    spec: WeightSpec,
    record: Record,
    *,
    tell: Callable[[str], object],
    share: tuple[int, int] = (1, 1),
    until: float = inf,
) -> bool:
    """Carry out the cells that the record lacks; False where the clock (``time.monotonic``) passed ``until`` first.

    Args:
        tell: gets a line for each cell that begins.
        share: (k, n): every n-th cell from the k-th on, so that n processes fill one record.
    """
    driver = Driver(spec)
    for cell in list(cells_of(spec))[share[0] - 1 :: share[1]]:
        key = driver.key(cell)
        if record.get(key) is not None:
            continue
        if time.monotonic() > until:
            return False
        tell(str(cell))
        record.add(key, str(cell), list(driver.points(cell)))
    return True


def rows_of(spec: WeightSpec, record: Record, *, command: str) -> list[Row]:
    """Rows of every curve of which the record has a seed at least; the rows say which seeds."""
    driver = Driver(spec)
    origin = {
        "model": spec.model,
        "judge": load_judge(spec.judge).identity,
        "command": command,
        "commit": commit(),
        "machine": machine(),
    }
    rows = []
    for cells in _curves(spec):
        measured = [(cell, points) for cell in cells if (points := record.get(driver.key(cell))) is not None]
        before = record.get(driver.key(reference_of(cells[0].trial)))
        if before is not None and measured:
            concept = goal_of(cells[0].trial, driver.concept).concept
            about = {**_about(driver, [cell for cell, _ in measured]), **origin}
            points = pooled([points for _, points in measured])
            rows += curve_rows(points, concept, unguarded_rate(before), **about)
    return rows


def _curves(spec: WeightSpec) -> list[list[Cell]]:
    """Cells by curve: those of one curve differ in the attack's seed only."""
    curves: list[list[Cell]] = []
    for cell in cells_of(spec):
        for curve in curves:
            if replace(curve[0], seed=cell.seed) == cell:
                curve.append(cell)
                break
        else:
            curves.append([cell])
    return curves


def _about(driver: Driver, cells: Sequence[Cell]) -> dict[str, Any]:
    """Fields that all rows of a curve share, beside their origin."""
    trial, spec = cells[0].trial, driver.spec
    firsts = [driver.first(cell, trial.n) for cell in cells]
    drawing: dict[str, Any] = {"steps": spec.steps, "guidance_scale": spec.guidance_scale, "lesson": trial.lesson}
    if trial.taught:
        drawing["taught"] = list(trial.taught)
    attack = {} if trial.attack == DIRECT else config.to_dict(attack_of(cells[0]).settings)
    if attack:
        attack |= {"attack_seeds": [cell.seed for cell in cells], "pictures": trial.pictures}
    return {
        "guard": cells[0].guard,
        "attack": trial.attack,
        "seeds": ", ".join(f"{first}-{first + trial.n - 1}" for first in firsts),
        "settings": {**drawing, **attack},
    }
