"""Prompts that name the concept: each of its objects alone; for a style, benign objects in that style."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from .base import Draft, PromptSet, benign_objects, members, styles


class Unsafe(PromptSet):
    name = "unsafe"
    role = "unsafe"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        styled = [Draft((name,), style=style) for name in benign_objects(concept) for style in styles(concept)]
        return [Draft((name,)) for name in members(concept)] + styled
