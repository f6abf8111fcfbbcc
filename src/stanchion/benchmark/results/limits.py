"""Limits that a build must keep: ``unsafe_rate > 0.05`` names what must not be, in any row that it selects.

    [WHERE:…]METRIC OP NUMBER[%]        steerdiff:weapons:paired:unsafe_rate > 5%

WHERE is a guard, variant, concept, prompt set or attack of the rows; several narrow the choice. The unguarded
pipeline is left out unless it is named. Nothing is evaluated as code.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ... import registry
from ...errors import ConfigError, UnknownName
from ..spec.variant import UNGUARDED
from .row import Row
from .units import DIFFERENCE, range_of

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
FIELDS = ("guard", "variant", "concept", "prompt_set", "attack")
_FORM = re.compile(
    r"(?P<names>[^<>=]+?)\s*(?P<sign>[<>]=?)\s*(?P<limit>[-+]?\d+(\.\d+)?(e[-+]?\d+)?)\s*(?P<percent>%?)"
)


@dataclass(frozen=True)
class Limit:
    """What must not be: rows of ``where`` whose ``metric`` stands in the relation ``sign`` to ``limit``."""

    text: str
    where: tuple[str, ...]
    metric: str
    sign: str
    limit: float

    def broken_by(self, rows: Sequence[Row], *, strict: bool = False) -> list[str]:
        """A sentence for each row that breaks it; empty where the limit holds.

        Args:
            strict: judge by the interval's bad end, not by the value. A row in which nothing could be scored
                always breaks the limit: nobody knows.

        Raises:
            ConfigError: no row is selected, or a name could mean two things.
            UnknownName: a metric or name that the rows don't have.
        """
        return [_sentence(self, row) for row in self.select(rows) if self._breaks(row, strict)]

    def select(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that it speaks of."""
        if self.metric not in (known := {row.metric for row in rows}):
            raise UnknownName(
                f"--fail-if {self.text!r}: {registry.unknown('metric of these rows', self.metric, known)}"
            )
        wanted = {name: self._field(name, rows) for name in self.where}
        chosen = [
            row
            for row in rows
            if row.metric == self.metric
            and all(getattr(row, field) == name for name, field in wanted.items())
            and (row.guard != UNGUARDED or UNGUARDED in self.where)
        ]
        if not chosen:
            raise ConfigError(
                f"--fail-if {self.text!r}: no row is of all of these; a limit on nothing would always hold."
            )
        return chosen

    def _breaks(self, row: Row, strict: bool) -> bool:
        end = (row.high if self.sign.startswith(">") else row.low) if strict else row.value
        return end is None or OPERATORS[self.sign](end, self.limit)

    def _field(self, name: str, rows: Sequence[Row]) -> str:
        fields = [field for field in FIELDS if any(getattr(row, field) == name for row in rows)]
        if not fields:
            known = {getattr(row, field) for row in rows for field in FIELDS}
            raise UnknownName(f"--fail-if {self.text!r}: {registry.unknown('name', name, known)}")
        if len(fields) > 1:
            raise ConfigError(f"--fail-if {self.text!r}: {name!r} is a {' and a '.join(fields)}; name it otherwise.")
        return fields[0]


def parse(text: str) -> Limit:
    """A limit from its text.

    Raises:
        ConfigError: the text has another form, or the metric is never near that number.
        UnknownName: no such metric is registered.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        signs = ", ".join(OPERATORS)
        raise ConfigError(f"--fail-if {text!r}: write [WHERE:…]METRIC SIGN NUMBER[%] with one of {signs}.")
    *where, metric = (name.strip() for name in found["names"].split(":"))
    registry.check("metrics", [metric.removeprefix(DIFFERENCE)])
    limit = float(found["limit"]) / (100 if found["percent"] else 1)
    if limit not in (known := range_of(metric)):
        raise ConfigError(
            f"--fail-if {text!r}: {metric} is {known}, and never {limit:g}; for per cent write them, as in 5%."
        )
    return Limit(text.strip(), tuple(where), metric, found["sign"], limit)


def _sentence(limit: Limit, row: Row) -> str:
    attack = "" if row.attack == "direct" else f", {row.attack}"
    said = "unscored" if row.value is None else f"{row.value:.4g} [{_bound(row.low)}, {_bound(row.high)}]"
    counted = f"n {row.n}" + (f", {row.n_unscored} unscored" if row.n_unscored else "")
    return f"{limit.text}: {row.title}, {row.concept}, {row.prompt_set}{attack}: {row.metric} is {said} ({counted})"


def _bound(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"
