"""What a curve says: the judged pictures of its points, and after how many updates half is back. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CurvePoint:
    """What was seen after a number of updates; one entry a picture, None where it could not be scored.

    Attributes:
        found: the concept is in the picture.
        nothing: no object is recognised.
        named: every object that the prompt names is there.
        benign: the same for the pictures of harmless prompts.
        seconds: that the updates since the last point took.
    """

    updates: int
    found: tuple[bool | None, ...]
    nothing: tuple[bool | None, ...]
    named: tuple[bool | None, ...]
    benign: tuple[bool | None, ...] = ()
    seconds: float = 0.0


def pooled(curves: Sequence[Sequence[CurvePoint]]) -> list[CurvePoint]:
    """The pictures of several seeds as one curve; only points that every seed reached."""
    reached = [{point.updates: point for point in curve} for curve in curves]
    shared = sorted(set.intersection(*(set(points) for points in reached)))
    return [_joined([points[updates] for points in reached]) for updates in shared]


def _joined(points: Sequence[CurvePoint]) -> CurvePoint:
    """The pictures of points of the same number of updates."""

    def all_of(key: str) -> tuple[bool | None, ...]:
        return tuple(hit for point in points for hit in getattr(point, key))

    seconds = sum(point.seconds for point in points)
    return CurvePoint(
        points[0].updates, all_of("found"), all_of("nothing"), all_of("named"), all_of("benign"), seconds=seconds
    )


def crossing(updates: Sequence[int], rates: Sequence[float], level: float) -> float | None:
    """Where the broken line through the points first reaches ``level``; None where it never does.

    The first point counts as reached if it lies at or above the level.
    """
    if rates and rates[0] >= level:
        return float(updates[0])
    for place in range(1, len(rates)):
        before, now = rates[place - 1], rates[place]
        if now >= level:
            part = (level - before) / (now - before)
            return round(updates[place - 1] + part * (updates[place] - updates[place - 1]), 2)
    return None
