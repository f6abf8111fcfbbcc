"""Attacks against guards: how often each attack brings the concept back, static and adaptive, and the gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..rows import Row
from ..units import SHARE

LEVELS = 10


@dataclass(frozen=True)
class Shade:
    """A cell: the success rate, its interval, and a shade from 0 (never) to ``LEVELS`` (always)."""

    text: str
    interval: str
    level: int
    counted: str


@dataclass(frozen=True)
class HeatLine:
    """One attack on every guard.

    Attributes:
        kind: "static" (found against the unguarded model and replayed, or not optimised through a model at all),
            "adaptive" (optimised through the guard), or "gap", adaptive minus static in points.
    """

    attack: str
    prompt_set: str
    kind: str
    cells: tuple[Shade | None, ...]


@dataclass(frozen=True)
class Heat:
    """Attack success rates of one concept."""

    guards: tuple[str, ...]
    lines: tuple[HeatLine, ...]


def heat(rows: Sequence[Row]) -> Heat | None:
    """The table of one concept's rows; None where no attack is among them. A line of plain prompts comes first."""
    attacked = [row for row in rows if row.metric == "asr" and row.attack != "direct"]
    if not attacked:
        return None
    sets = {row.prompt_set for row in attacked}
    plain = [row for row in rows if row.metric == "unsafe_rate" and row.attack == "direct" and row.prompt_set in sets]
    guards = tuple(dict.fromkeys(row.title for row in [*plain, *attacked]))
    lines = []
    for attack, prompt_set in dict.fromkeys((row.attack, row.prompt_set) for row in [*plain, *attacked]):
        here = [row for row in [*plain, *attacked] if (row.attack, row.prompt_set) == (attack, prompt_set)]
        static = {row.title: row for row in here if not row.adaptive}
        adaptive = {row.title: row for row in here if row.adaptive}
        if static:
            lines.append(_line(attack, prompt_set, "static", static, guards))
        if adaptive:
            lines.append(_line(attack, prompt_set, "adaptive", adaptive, guards))
        if static and adaptive:
            cells = tuple(_gap(adaptive.get(guard), static.get(guard)) for guard in guards)
            lines.append(HeatLine(attack, prompt_set, "gap", cells))
    return Heat(guards, tuple(lines))


def _line(attack: str, prompt_set: str, kind: str, rows: dict[str, Row], guards: Sequence[str]) -> HeatLine:
    return HeatLine(attack, prompt_set, kind, tuple(_shade(rows.get(guard)) for guard in guards))


def _shade(row: Row | None) -> Shade | None:
    if row is None:
        return None
    counted = f"n {row.n}" + (f", {row.n_unscored} unscored" if row.n_unscored else "")
    if row.value is None or row.low is None or row.high is None:
        return Shade("unscored", "", 0, counted)
    interval = f"{SHARE.number(row.low)} – {SHARE.number(row.high)}"
    return Shade(SHARE.number(row.value), interval, round(LEVELS * row.value), counted)


def _gap(adaptive: Row | None, static: Row | None) -> Shade | None:
    if adaptive is None or static is None or adaptive.value is None or static.value is None:
        return None
    return Shade(f"{100 * (adaptive.value - static.value):+.0f}", "", 0, "")
