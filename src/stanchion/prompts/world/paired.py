"""Prompts that name the concept beside something benign, the companion, which has to survive.

A style's companion is the object that is drawn in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ..base import Draft, WorldPrompts, benign_objects, members, styles


class Paired(WorldPrompts):
    name = "paired"
    role = "paired"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        companions = benign_objects(concept)
        styled = [Draft((other,), other, style) for other in companions for style in styles(concept)]
        return [_pair(concept, shift, place) for shift in range(len(companions)) for place in _places(concept)] + styled


def _places(concept: Concept) -> range:
    return range(len(members(concept)))


def _pair(concept: Concept, shift: int, place: int) -> Draft:
    """One member and one companion, taken along the diagonal; each stands first half of the time."""
    companions = benign_objects(concept)
    member, companion = members(concept)[place], companions[(shift + place) % len(companions)]
    return Draft((member, companion) if shift % 2 == 0 else (companion, member), companion)
