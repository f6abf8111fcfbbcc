"""Two harmless things in the concept's style; each of the two in turn is the companion that has to survive."""

from __future__ import annotations

from collections.abc import Sequence

from ...concepts import Concept
from ..base import Draft, WorldPrompts, benign_objects, diagonal, styles


class StylePairs(WorldPrompts):
    name = "style_pairs"
    role = "paired"

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        pairs = diagonal(benign_objects(concept))
        return [Draft(pair, pair[place % 2], style) for place, pair in enumerate(pairs) for style in styles(concept)]
