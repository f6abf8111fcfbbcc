"""How a metric's numbers are printed: shares in per cent, differences of shares in points, others as they are."""

from __future__ import annotations

from dataclasses import dataclass

from .. import registry

DIFFERENCE = "difference_"


@dataclass(frozen=True)
class Unit:
    """A unit's sign, what a value is multiplied with, and its format."""

    sign: str
    scale: float
    form: str

    def number(self, value: float) -> str:
        """The number alone, rounded; a minus is a minus, and nothing is minus nothing."""
        text = format(self.scale * value, self.form)
        return text.removeprefix("-") if float(text) == 0 else text


SHARE, POINTS = Unit("%", 100, ".1f"), Unit("points", 100, "+.1f")


def unit_of(metric: str) -> Unit:
    """The unit of a registered metric or of a difference of one."""
    if metric.startswith(DIFFERENCE):
        return POINTS
    sign = registry.get("metrics", metric).unit
    return {"%": SHARE, "points": POINTS}.get(sign, Unit(sign, 1, ".3g"))
