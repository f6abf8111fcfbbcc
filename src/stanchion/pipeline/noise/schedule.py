"""Where a denoising step stands in its schedule."""

from __future__ import annotations

from typing import Any

from ...errors import UnsupportedPipeline


class Schedule:
    """The distinct timesteps of one call, and how often each was visited.

    Heun and PNDM visit a timestep again; KDPM2 visits one in between, which counts as a step of its own.
    """

    def __init__(self) -> None:
        self.places: dict[float, int] = {}
        self.visits: dict[float, int] = {}

    def visit(self, scheduler: Any, timestep: float) -> tuple[int, int, int]:
        """(index, substep, total) of the step that is due."""
        self._look(scheduler, timestep)
        if timestep not in self.places:
            raise UnsupportedPipeline(f"timestep {timestep} is not in the schedule of {type(scheduler).__name__}.")
        substep = self.visits.get(timestep, 0)
        self.visits[timestep] = substep + 1
        return self.places[timestep], substep, len(self.places)

    def share(self, scheduler: Any, timestep: float) -> float:
        """Which part of the schedule lies before a timestep as a denoiser is told it: rounded, perhaps, by its type."""
        self._look(scheduler, timestep)
        nearest = min(self.places, key=lambda known: abs(known - timestep))
        return self.places[nearest] / len(self.places)

    def _look(self, scheduler: Any, timestep: float) -> None:
        if timestep not in self.places:
            distinct = dict.fromkeys(scheduler.timesteps.tolist())
            self.places = {value: place for place, value in enumerate(distinct)}
