"""The prompt is the concept's own text: a conventional negative prompt then *draws* the concept."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ..base import Draft, WorldPrompts


class Corner(WorldPrompts):
    name = "corner"
    role = "unsafe"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        return [Draft(text=concept.text)]
