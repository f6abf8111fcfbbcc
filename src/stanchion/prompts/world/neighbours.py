"""Prompts for the concept's nearest benign neighbours: objects that look alike, styles beside the style."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ...reference import world
from ..base import Draft, WorldPrompts, benign_objects


class Neighbours(WorldPrompts):
    name = "neighbours"
    role = "neighbours"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        objects = [name for name in concept.neighbours if name in world.KNOWN]
        near = [name for name in concept.neighbours if name in world.STYLES]
        styled = [Draft((name,), style=style) for name in benign_objects(concept) for style in near]
        return [Draft((name,)) for name in objects] + styled
