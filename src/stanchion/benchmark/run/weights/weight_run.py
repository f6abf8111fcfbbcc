"""Attacks on weights as work, and rows of what is done of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from .... import config
from ....files.shards import ALL, Shard
from ....judges import load_judge
from ...results.from_curves import curve_rows, unguarded_rate
from ...results.row import Origin, Row
from ...spec.variant import Variant
from ...spec.weight_spec import DIRECT, WeightCell, WeightSpec, attack_of, cells_of, reference_of
from ...store.curve import CurvePoint, pooled
from ...store.lines import Lines
from .driver import Driver
from .goals import goal_of


@dataclass(frozen=True)
class WeightJob:
    """A spec and the record of its curves, which all processes append to."""

    spec: WeightSpec
    record: Path
    concept: ClassVar[str] = ""
    kinds: ClassVar[int] = 1

    @property
    def folder(self) -> Path:
        """Of the record."""
        return self.record.parent

    def works(self, shard: Shard = ALL) -> tuple[CurveWork]:
        """The curves."""
        return (CurveWork(self.spec, curves_in(self.record)),)


class CurveWork:
    """A spec's cells, each attacked and measured in one piece."""

    unit = "curve"

    def __init__(self, spec: WeightSpec, record: Lines[CurvePoint]) -> None:
        self.spec, self.record, self._driver = spec, record, Driver(spec)

    def cells(self) -> list[WeightCell]:
        """The spec's, in order."""
        return list(cells_of(self.spec))

    def group(self, cell: WeightCell) -> str:
        """Each is one of its own."""
        return str(cell)

    def size(self, cell: WeightCell) -> int:
        """One."""
        return 1

    def chunks(self, cell: WeightCell) -> Iterator[list[WeightCell]]:
        """The cell."""
        yield [cell]

    def done(self, cell: WeightCell, chunk: Sequence[WeightCell]) -> bool:
        """Whether the record has its curve."""
        return self.record.get(self._driver.key(cell)) is not None

    def carry_out(self, cell: WeightCell, chunk: Sequence[WeightCell]) -> None:
        """Attack, measure, keep."""
        self.record.add(self._driver.key(cell), str(cell), list(self._driver.points(cell)))


def curves_in(path: Path) -> Lines[CurvePoint]:
    """The record of curves in a file, which need not be there yet."""
    return Lines(path, CurvePoint)


def rows_of(spec: WeightSpec, record: Lines[CurvePoint], *, command: str) -> list[Row]:
    """Rows of every curve of which the record has a seed at least; the rows say which seeds."""
    driver = Driver(spec)
    origin = Origin.now(command=command, judge=load_judge(spec.judge).identity, model=spec.model)
    rows = []
    for cells in _curves(spec):
        measured = [(cell, points) for cell in cells if (points := record.get(driver.key(cell))) is not None]
        before = record.get(driver.key(reference_of(cells[0].trial)))
        if before is not None and measured:
            concept = goal_of(cells[0].trial, driver.concept).concept
            about = {**_about(driver, [cell for cell, _ in measured]), "origin": origin}
            points = pooled([points for _, points in measured])
            rows += curve_rows(points, concept, unguarded_rate(before), **about)
    return rows


def _curves(spec: WeightSpec) -> list[list[WeightCell]]:
    """Cells by curve: those of one curve differ in the attack's seed only."""
    curves: list[list[WeightCell]] = []
    for cell in cells_of(spec):
        for curve in curves:
            if replace(curve[0], seed=cell.seed) == cell:
                curve.append(cell)
                break
        else:
            curves.append([cell])
    return curves


def _about(driver: Driver, cells: Sequence[WeightCell]) -> dict[str, Any]:
    """Fields that all rows of a curve share, beside their origin."""
    trial, spec = cells[0].trial, driver.spec
    firsts = [driver.first(cell, trial.n) for cell in cells]
    drawing: dict[str, Any] = {
        "steps": spec.steps,
        "guidance_scale": spec.guidance_scale,
        "finetuning_data": trial.finetuning_data,
    }
    if trial.taught:
        drawing["taught"] = list(trial.taught)
    attack = {} if trial.attack == DIRECT else config.to_dict(attack_of(cells[0]).settings)
    if attack:
        attack |= {"attack_seeds": [cell.seed for cell in cells], "pictures": trial.pictures}
    return {
        "variant": Variant(cells[0].guard),
        "attack": trial.attack,
        "seeds": ", ".join(f"{first}-{first + trial.n - 1}" for first in firsts),
        "settings": {**drawing, **attack},
    }
