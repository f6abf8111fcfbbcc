"""Two harmless things in one prompt, both outside of the concept: both have to survive."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ..base import Draft, WorldPrompts, benign_objects, diagonal


class BenignPairs(WorldPrompts):
    name = "benign_pairs"
    role = "benign"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        return [Draft(pair) for pair in diagonal(benign_objects(concept))]
