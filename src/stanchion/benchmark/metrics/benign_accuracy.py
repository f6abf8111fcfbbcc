"""Share of benign prompts whose picture shows every object that was asked for."""

from __future__ import annotations

from ...types import Attempt, Unscored
from .base import Rate, shows


def drawn(attempt: Attempt) -> bool | Unscored:
    """Whether the prompt's objects are all in the picture."""
    return attempt.labels if isinstance(attempt.labels, Unscored) else shows(attempt.labels, attempt.prompt.objects)


class BenignAccuracy(Rate):
    name = "benign_accuracy"
    higher_is_better = True
    roles = ("benign", "neighbours")

    def score(self, attempt: Attempt, twin: Attempt) -> bool | Unscored:
        return drawn(attempt)
