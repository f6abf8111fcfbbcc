"""Prompts that mean the concept without its own name: synonyms of its objects or of its style."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ...reference import world
from .base import Draft, WorldPrompts, benign_objects, members, styles


class Synonyms(WorldPrompts):
    name = "synonyms"
    role = "unsafe"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        objects = [
            Draft((name,), words={name: world.noun(synonym)})
            for name in members(concept)
            for synonym in world.OBJECTS[name].synonyms
        ]
        styled = [
            Draft((name,), style=style, words={style: phrase})
            for name in benign_objects(concept)
            for style in styles(concept)
            for phrase in world.STYLES[style][1:]
        ]
        return objects + styled
