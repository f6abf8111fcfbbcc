"""What the guards did in one call, in plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, repr=False)
class GuardReport:
    """What one guard did in one call.

    Attributes:
        guard, stage: its name and where it acts.
        acted: per picture, whether the guard did anything.
        active_steps: per picture, in how many denoising steps (1 at most for stages that act once a call).
        acted_at: for each time that it ran, in order, a tuple that says per picture whether it did anything: one a
            denoiser pass, or a single one for stages that act once a call.
        scores: per name, one tuple a step (or a single one) with a number per picture.
        details: what a text guard has to say about each prompt.
    """

    guard: str
    stage: str
    acted: tuple[bool, ...]
    active_steps: tuple[int, ...]
    acted_at: tuple[tuple[bool, ...], ...] = ()
    scores: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    details: tuple[Mapping[str, Any], ...] = ()

    def __repr__(self) -> str:
        return (
            f"<{self.guard} ({self.stage}): acted on {sum(self.acted)} of {len(self.acted)}, steps {self.active_steps}>"
        )


@dataclass(frozen=True, repr=False)
class Report:
    """What the guards did in one call: ``steps`` denoiser passes over a schedule of ``total`` timesteps."""

    guards: tuple[GuardReport, ...]
    steps: int
    total: int

    @property
    def acted(self) -> tuple[bool, ...]:
        """Per picture, whether any guard did anything."""
        return tuple(any(flags) for flags in zip(*(guard.acted for guard in self.guards), strict=True))

    def of_picture(self, place: int) -> dict[str, int]:
        """By guard, in how many steps it did anything to that picture."""
        return {guard.guard: guard.active_steps[place] for guard in self.guards}

    def __repr__(self) -> str:
        return f"<Report of {self.steps} passes over {self.total} steps: {', '.join(map(repr, self.guards))}>"
