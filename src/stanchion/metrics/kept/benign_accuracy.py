"""Share of benign prompts whose picture shows every object that was asked for."""

from __future__ import annotations

from ...types import Attempt, Unscored
from ..base import Rate, shows


def drawn(attempt: Attempt) -> bool | Unscored | None:
    """Whether the prompt's objects are all in the picture; None where nobody knows what the prompt asks for."""
    if not attempt.prompt.objects:
        return None
    return attempt.labels if isinstance(attempt.labels, Unscored) else shows(attempt.labels, attempt.prompt.objects)


class BenignAccuracy(Rate):
    name = "benign_accuracy"
    higher_is_better = True
    roles = ("benign", "neighbours")

    def score(self, attempt: Attempt, twin: Attempt) -> bool | Unscored | None:
        return drawn(attempt)
