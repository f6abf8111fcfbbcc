"""The empty prompt: its own rate of the concept is the floor of every guard that falls back to it."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ..base import Draft, WorldPrompts


class Empty(WorldPrompts):
    name = "empty"
    role = "empty"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        return [Draft(text="")]
