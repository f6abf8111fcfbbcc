"""Curves as SVG: the share of pictures that show the concept over the number of updates, with 95 % bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from ..results.row import Row
from ..results.tables.curve_table import curves, described, model_of

WIDTH, HEIGHT = 800, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 256, 48, 56
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")  # Okabe and Ito's
GREY = "#767676"


@dataclass(frozen=True)
class Curve:
    """One line with its band: (updates, value, low, high) in ascending order, under a name for the legend."""

    name: str
    points: tuple[tuple[int, float, float, float], ...]


def curve_of(name: str, rows: Sequence[Row], metric: str = "unsafe_rate") -> Curve:
    """The curve of one attack on one model; points without a value are left out."""
    points = [
        (row.updates or 0, row.value, row.low or 0.0, row.high or 0.0)
        for row in rows
        if row.metric == metric and row.value is not None
    ]
    return Curve(name, tuple(sorted(points)))


def picture(title: str, rows: Sequence[Row]) -> str:
    """All curves of the rows, named by their models; by their attacks too where these differ."""
    found = curves(rows)
    several = len({described(curve[0]) for curve in found}) > 1
    named = [
        curve_of(f"{model_of(curve[0])}, {described(curve[0])}" if several else model_of(curve[0]), curve)
        for curve in found
    ]
    half = next(row.settings["half"] for row in rows if "half" in row.settings)
    return svg(title, named, half=half)


def svg(title: str, curves: Sequence[Curve], *, half: float) -> str:
    """A picture of its own, without scripts or fonts of its own. ``half`` is drawn as a dotted line."""
    axis = _Axis(max((updates for curve in curves for updates, *_ in curve.points), default=1))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 26, title, size=15, anchor="start", colour="#222222"),
        *_frame(axis, half),
    ]
    for place, curve in enumerate(curves):
        parts += _drawn(curve, COLOURS[place % len(COLOURS)], axis)
    labels = _apart([_y(curve.points[-1][1]) if curve.points else _y(0) for curve in curves])
    for place, (curve, y) in enumerate(zip(curves, labels, strict=True)):
        parts.append(_text(WIDTH - RIGHT + 12, y + 4, curve.name, anchor="start", colour=COLOURS[place % len(COLOURS)]))
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Axis:
    """Updates on a logarithmic axis from 1 on; 0 stands to the left of it, past a gap."""

    def __init__(self, last: int) -> None:
        self.decades = max(1.0, math.log10(max(last, 1)))
        self.last = last

    def x(self, updates: float) -> float:
        width = WIDTH - LEFT - RIGHT
        if updates < 1:
            return LEFT + 14
        return LEFT + 62 + (width - 76) * math.log10(updates) / self.decades

    def ticks(self) -> list[int]:
        steps = [base * 10**power for power in range(6) for base in (1, 2, 5)]
        return [0, *(step for step in steps if step <= max(self.last, 10))]


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def _frame(axis: _Axis, half: float) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        parts.append(_line(LEFT, y, right, y, "#e4e4e4"))
        parts.append(_text(LEFT - 10, y + 4, f"{10 * tenth} %", anchor="end"))
    for tick in axis.ticks():
        x = axis.x(tick)
        parts.append(_line(x, bottom, x, bottom + 5, GREY))
        parts.append(_text(x, bottom + 20, str(tick)))
    parts.append(_line(LEFT, bottom, right, bottom, GREY))
    parts.append(_line(LEFT, _y(half), right, _y(half), GREY, dashes="2 4"))
    parts.append(_text(LEFT + 4, _y(half) - 6, "half of the unguarded model", size=11, anchor="start"))
    parts.append(_text((LEFT + right) / 2, HEIGHT - 14, "updates of the attack (logarithmic; none at the left)"))
    middle = (TOP + bottom) / 2
    label = _text(18, middle, "pictures that show it")
    return [*parts, label.replace("<text ", f'<text transform="rotate(-90 18 {middle:.0f})" ')]


def _drawn(curve: Curve, colour: str, axis: _Axis) -> list[str]:
    if not curve.points:
        return []
    upper = [(axis.x(updates), _y(high)) for updates, _, _, high in curve.points]
    lower = [(axis.x(updates), _y(low)) for updates, _, low, _ in reversed(curve.points)]
    line = [(axis.x(updates), _y(value)) for updates, value, _, _ in curve.points]
    return [
        f'<polygon points="{_joined(upper + lower)}" fill="{colour}" opacity="0.15"/>',
        f'<polyline points="{_joined(line)}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in line),
    ]


def _apart(heights: Sequence[float], gap: float = 17) -> list[float]:
    """The heights of labels moved as little as keeps them ``gap`` apart, downwards first and back from the bottom."""
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    moved = list(heights)
    for before, here in pairwise(order):
        moved[here] = max(moved[here], moved[before] + gap)
    if order:
        excess = moved[order[-1]] - (HEIGHT - BOTTOM)
        moved = [height - max(0.0, excess) for height in moved]
    return moved


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}/>'


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "middle", colour: str = GREY) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )
