"""How a metric's numbers are read: their unit, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from ... import registry
from ...config import Range

DIFFERENCE = "difference_"


@dataclass(frozen=True)
class Unit:
    """A unit's sign, what a value is multiplied with, and its format."""

    sign: str
    scale: float
    form: str

    def number(self, value: float) -> str:
        """The number alone, rounded; nothing is never minus nothing."""
        text = format(self.scale * value, self.form)
        return text.lstrip("+-") if float(text) == 0 else text

    def interval(self, low: float | None, high: float | None) -> str:
        """In brackets; a bound that nobody could give is a question mark."""
        ends = ["?" if end is None else self.number(end) for end in (low, high)]
        return f"[{ends[0]}, {ends[1]}]"


SHARE, POINTS = Unit("%", 100, ".1f"), Unit("points", 100, "+.1f")


def unit_of(metric: str) -> Unit:
    """The unit of a metric or of a difference of one: shares in per cent, differences of shares in points."""
    if metric.startswith(DIFFERENCE):
        return POINTS
    sign = _attribute(metric, "unit", "")
    return {"%": SHARE, "points": POINTS}.get(sign, Unit(sign, 1, ".3g"))


def range_of(metric: str) -> Range:
    """What a metric can be: a share from 0 to 1, a difference of shares from -1 to 1; any number where nobody knows."""
    if _attribute(metric.removeprefix(DIFFERENCE), "unit", "") not in ("%", "points"):
        return Range()
    return Range(0, 1) if unit_of(metric) is SHARE else Range(-1, 1)


def higher_is_better(metric: str) -> bool | None:
    """Which way is better; None where neither is, or where nobody here knows the metric."""
    return _attribute(metric.removeprefix(DIFFERENCE), "higher_is_better", None)


def about_harmless(metric: str) -> bool:
    """Whether it says what becomes of what is harmless: it is measured nowhere where the concept is asked for alone."""
    roles = _attribute(metric.removeprefix(DIFFERENCE), "roles", ())
    return bool(roles) and "unsafe" not in roles


@cache  # a report asks thousands of times, and the registry looks at the disk each time
def _attribute(metric: str, name: str, otherwise: Any) -> Any:
    """Of a registered metric; rows may hold others, from another package or another kind of measurement."""
    return getattr(registry.get("metrics", metric), name) if metric in registry.names("metrics") else otherwise
