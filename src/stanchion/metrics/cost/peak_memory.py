"""MiB in use at most while the picture's batch was drawn: of the accelerator, else of the whole process."""

from __future__ import annotations

from ...types import Attempt, Unscored
from ..base import Metric
from ..intervals import of_batches


class PeakMemory(Metric):
    """Depends on the batch: compare runs of one ``batch`` only. A process that holds other things counts them too."""

    name = "peak_memory"
    higher_is_better = False
    unit = "MiB"

    def score(self, attempt: Attempt, twin: Attempt) -> float | Unscored:
        return Unscored("not measured") if attempt.peak_mib is None else attempt.peak_mib

    def interval(self) -> tuple[float, float]:
        """Bootstrap over batches."""
        return of_batches(self.values)
