"""Attacks against guards: how often each attack brings the concept back, static and adaptive, and the gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...spec.attack_plan import DIRECT
from ..row import Row
from ..units import DIFFERENCE, unit_of

LEVELS = 10
KINDS = {False: "static", True: "adaptive", None: "queried"}


@dataclass(frozen=True)
class Shade:
    """A cell: the rate, its interval, and a shade from 0 (never, or no rate) to ``LEVELS`` (always)."""

    text: str
    interval: str
    level: int
    counted: str


@dataclass(frozen=True)
class HeatmapLine:
    """One attack on every guard, None where it was not tried.

    Attributes:
        attack: its name, or "no attack" for the prompts alone.
        kind: "static" (found against the unguarded model and replayed), "adaptive" (optimised through the guard),
            "queried" (not optimised through a model), "gap" (adaptive minus static, in points), or "plain".
    """

    attack: str
    prompt_set: str
    kind: str
    cells: tuple[Shade | None, ...]


@dataclass(frozen=True)
class Heatmap:
    """Attack success rates of one concept."""

    guards: tuple[str, ...]
    lines: tuple[HeatmapLine, ...]


def heatmap(rows: Sequence[Row]) -> Heatmap | None:
    """The table of one concept's rows; None where no attack is among them. The prompts alone come first."""
    attacked = [row for row in rows if row.attack != DIRECT and row.metric.removeprefix(DIFFERENCE) == "asr"]
    if not attacked:
        return None
    sets = {row.prompt_set for row in attacked}
    plain = [row for row in rows if row.attack == DIRECT and row.metric == "unsafe_rate" and row.prompt_set in sets]
    known = {row.title for row in attacked}
    guards = tuple(title for title in dict.fromkeys(row.title for row in rows) if title in known)
    refused = {_place(row): round(row.n * (row.value or 0)) for row in rows if row.metric == "refused"}
    groups: dict[tuple[str, str], dict[str, dict[str, Shade]]] = {}
    for row in [*plain, *attacked]:
        shade = _shade(row, refused.get(_place(row), 0))
        groups.setdefault((row.attack, row.prompt_set), {}).setdefault(_kind(row), {})[row.title] = shade
    lines = [_line(*name, kind, of_guard, guards) for name, kinds in groups.items() for kind, of_guard in kinds.items()]
    return Heatmap(guards, tuple(lines))


def _place(row: Row) -> tuple[str, str, str, str]:
    return row.attack, row.prompt_set, _kind(row), row.title


def _kind(row: Row) -> str:
    if row.metric.startswith(DIFFERENCE):
        return "gap"
    return "plain" if row.attack == DIRECT else KINDS[row.adaptive]


def _line(attack: str, prompt_set: str, kind: str, shades: Mapping[str, Shade], guards: Sequence[str]) -> HeatmapLine:
    return HeatmapLine("no attack" if attack == DIRECT else attack, prompt_set, kind, tuple(map(shades.get, guards)))


def _shade(row: Row, refused: int) -> Shade:
    rest = {"refused": refused, "unscored": row.n_unscored - refused}
    counted = ", ".join([f"n {row.n}", *(f"{count} {why}" for why, count in rest.items() if count > 0)])
    if row.value is None:
        return Shade("unscored", "", 0, counted)
    unit = unit_of(row.metric)
    level = 0 if row.metric.startswith(DIFFERENCE) else round(LEVELS * row.value)
    return Shade(unit.number(row.value), unit.interval(row.low, row.high), level, counted)
