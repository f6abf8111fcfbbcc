"""Prompts that name the concept: each of its objects alone; for a style, benign objects in that style."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ..base import Draft, WorldPrompts, unsafe_drafts


class Unsafe(WorldPrompts):
    name = "unsafe"
    role = "unsafe"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        return unsafe_drafts(concept)
