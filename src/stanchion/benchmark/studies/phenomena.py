"""The field's known phenomena on the reference model: does this small world show them too?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

from ..results.row import Row
from ..spec.variant import Variant
from ._phenomena.cells import BASELINES, CELLS, WEAPONS
from ._phenomena.harness import PhenomenaHarness, Plan
from ._phenomena.table import table
from .base import Measure, Study

HEAD = """# The field's phenomena on the reference model

Made by `{command}`; 20 steps, guidance scale 4, shares with 95 % intervals.

"""


class Phenomena(Study):
    name = "phenomena"
    Settings = Plan

    def cells(self) -> dict[str, Measure]:
        """One a phenomenon; each takes minutes."""
        return {name: partial(self._measure, name) for name in CELLS}

    def identity(self) -> list[Any]:
        """Model, judge, and the guards that are put on it."""
        generator = self._harness.generator
        guards = [generator.identity_of(variant, WEAPONS) for variant in (*BASELINES, Variant("esd"))]
        return [generator.identity, self._harness.judge.identity, guards]

    def files(self, rows: Sequence[Row]) -> dict[str, str]:
        """The table."""
        return {"table.md": HEAD.format(command=self.command) + table(rows)}

    @cached_property
    def _harness(self) -> PhenomenaHarness:
        return PhenomenaHarness(self.settings, self.origin)

    def _measure(self, name: str) -> list[Row]:
        return CELLS[name](self._harness)
