"""Where a denoising step stands in its schedule."""

from __future__ import annotations

from typing import Any

from ...errors import UnsupportedPipeline


class Schedule:
    """The distinct timesteps of one call, and how often each was visited.

    Heun and PNDM visit a timestep again; KDPM2 visits one in between, which counts as a step of its own. Image to image
    begins in the middle: what comes before is not the call's. Timesteps that are ``chosen`` by the caller say nothing
    about how much of the picture is made: a hundred of them may lie where all is noise, or where none is left.
    """

    def __init__(self, *, chosen: bool = False) -> None:
        self.places: dict[float, int] = {}
        self.visits: dict[float, int] = {}
        self._chosen = chosen
        self._first: float | None = None

    def visit(self, scheduler: Any, timestep: float) -> tuple[int, int, int]:
        """(index, substep, total) of the step that is due."""
        self._look(scheduler, timestep)
        if timestep not in self.places:
            raise UnsupportedPipeline(f"timestep {timestep} is not in the schedule of {type(scheduler).__name__}.")
        substep = self.visits.get(timestep, 0)
        self.visits[timestep] = substep + 1
        return self.places[timestep], substep, len(self.places)

    def share(self, scheduler: Any, timestep: float) -> tuple[float, float]:
        """Which part of the call lies before a timestep as a denoiser is told it (rounded, perhaps, by its type).

        At least, and at most: the share of the steps; and of the noise, where the timesteps are the caller's choice.
        """
        self._look(scheduler, timestep)
        nearest = min(self.places, key=lambda known: abs(known - timestep))
        first = self._first = nearest if self._first not in self.places else self._first
        before = self.places[first]
        steps = max(self.places[nearest] - before, 0) / (len(self.places) - before)
        noise = max(1 - nearest / first, 0.0) if self._chosen and first > 0 else steps
        return min(steps, noise), max(steps, noise)

    def _look(self, scheduler: Any, timestep: float) -> None:
        if timestep not in self.places:
            distinct = dict.fromkeys(scheduler.timesteps.tolist())
            self.places = {value: place for place, value in enumerate(distinct)}
