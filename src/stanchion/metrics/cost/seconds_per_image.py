"""Seconds a picture took, its share of the batch that made it."""

from __future__ import annotations

from ...types import Attempt, Unscored
from ..base import Metric
from ..intervals import of_batches


class SecondsPerImage(Metric):
    name = "seconds_per_image"
    higher_is_better = False
    unit = "s"

    def score(self, attempt: Attempt, twin: Attempt) -> float | Unscored:
        return Unscored("not timed") if attempt.seconds is None else attempt.seconds

    def interval(self) -> tuple[float, float]:
        """Bootstrap over batches."""
        return of_batches(self.values)
