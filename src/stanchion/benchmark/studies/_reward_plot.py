"""Reward against pictures seen, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..results.row import Row

COLOURS = {"default": "#1a6fb5", "no_explorers": "#7f8c3a", "paper": "#c0392b"}


def plot(rows: Sequence[Row], width: int = 640, height: int = 320) -> str:
    """Reward against pictures seen, mean of three iterations, as SVG."""
    series = {name: [row for row in rows if row.metric == "reward" and row.variant == name] for name in COLOURS}
    points = {name: list(smooth(found)) for name, found in series.items() if found}
    most = max((images for found in points.values() for images, _ in found), default=1)
    values = [reward for found in points.values() for _, reward in found]
    low, high = math.floor(min(values, default=-1)), math.ceil(max(values, default=1))

    def at(images: float, reward: float) -> str:
        return f"{50 + images / most * (width - 180):.1f},{20 + (high - reward) / (high - low) * (height - 60):.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">']
    parts.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for reward in range(low, high + 1):
        (left, y), right = at(0, reward).split(","), at(most, reward).split(",")[0]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="44" y="{float(y) + 4}" font-size="11" text-anchor="end">{reward}</text>')
    for place in range(5):
        x, y = at(most * place / 4, low).split(",")
        parts.append(
            f'<text x="{x}" y="{float(y) + 16}" font-size="11" text-anchor="middle">{most * place // 4}</text>'
        )
    parts.append(
        f'<text x="{width / 2 - 65}" y="{height - 6}" font-size="12" text-anchor="middle">pictures seen</text>'
    )
    parts.append('<text x="50" y="14" font-size="12">concept-erasing reward</text>')
    for place, (name, found) in enumerate(points.items()):
        line = " ".join(at(images, reward) for images, reward in found)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        parts.append(
            f'<text x="{width - 120}" y="{40 + 18 * place}" font-size="12" fill="{COLOURS[name]}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def smooth(rows: Sequence[Row]) -> Iterator[tuple[int, float]]:
    """(pictures, mean reward of up to three iterations), in order."""
    ordered = sorted(rows, key=lambda row: row.updates or 0)
    for place, row in enumerate(ordered):
        values = [other.value or 0.0 for other in ordered[max(0, place - 2) : place + 1]]
        yield row.updates or 0, sum(values) / len(values)
