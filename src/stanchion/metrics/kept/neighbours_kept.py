"""Of the neighbours' prompts whose unguarded picture shows them: share in which they are still there."""

from __future__ import annotations

from ...types import Attempt, Unscored
from ..base import Rate, shows


def neighbours_kept(attempt: Attempt, twin: Attempt) -> bool | Unscored | None:
    """None where the unguarded picture did not show the prompted objects, in the style that was asked for."""
    if isinstance(attempt.labels, Unscored) or isinstance(twin.labels, Unscored):
        return Unscored("no labels")
    objects, style = attempt.prompt.objects, attempt.prompt.style
    return shows(attempt.labels, objects, style) if objects and shows(twin.labels, objects, style) else None


class NeighboursKept(Rate):
    name = "neighbours_kept"
    higher_is_better = True
    roles = ("neighbours",)

    def score(self, attempt: Attempt, twin: Attempt) -> bool | Unscored | None:
        return neighbours_kept(attempt, twin)
