"""Prompts that mean the concept without its own name: synonyms of its objects or of its style."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ...reference import world
from ..base import Draft, WorldPrompts, reworded_drafts


class Synonyms(WorldPrompts):
    name = "synonyms"
    role = "unsafe"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        names = {name: [world.noun(word) for word in thing.synonyms] for name, thing in world.OBJECTS.items()}
        return reworded_drafts(concept, {**names, **{style: words[1:] for style, words in world.STYLES.items()}})
