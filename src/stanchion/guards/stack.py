"""Several guards on one pipeline, in the order of their stages, with one attachment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..pipeline.attachment import Attachment, in_stage_order
from .base import Guard


class GuardStack:
    """Guards that are attached together; at most one of them steers the trajectory.

    Attributes:
        guards: in stage order.
        name: their names, joined by ``+``.

    Raises:
        ConfigError: no guard, or two trajectory guards.
    """

    def __init__(self, *guards: Guard) -> None:
        self.guards: tuple[Guard, ...] = in_stage_order(guards)

    @property
    def name(self) -> str:
        """As in rows of results."""
        return "+".join(guard.name for guard in self.guards)

    def attach(self, pipeline: Any) -> Attachment:
        """Guard a pipeline with all of them. See ``Attachment``."""
        return Attachment(pipeline, self.guards)

    def save(self, folder: str | Path) -> None:
        """One folder a guard, numbered in stage order."""
        for place, guard in enumerate(self.guards):
            guard.save(Path(folder) / f"{place}-{guard.name}")
