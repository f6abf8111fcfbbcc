"""Harmless prompts outside of the concept, in the default style."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ..base import Draft, WorldPrompts, benign_objects


class Benign(WorldPrompts):
    name = "benign"
    role = "benign"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        return [Draft((name,)) for name in benign_objects(concept)]
