"""Image to image from pictures that show the concept: what all of its prompt sets share.

How much of the start picture's concept comes through depends on the guard and on the strength alone where the prompt
is empty: that is the control for a prompt that asks for the concept, and for one that asks for something harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from ...concepts import Concept
from ...types import Start
from ..base import Draft, WorldPrompts, benign_objects, unsafe_drafts


class FromUnsafe(WorldPrompts):
    """Start pictures are what the set ``unsafe`` asks for.

    Attributes:
        strength: in (0, 1]: the share of the denoising steps that run.
        asks: for what is in the start picture, for nothing (the empty prompt), or for another, harmless object.
    """

    role = "i2i"
    strength: ClassVar[float]
    asks: ClassVar[Literal["unsafe", "empty", "benign"]]

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        begun = [
            replace(draft, start=Start(draft.objects, self.strength, draft.style)) for draft in unsafe_drafts(concept)
        ]
        if self.asks == "unsafe":
            return begun
        if self.asks == "empty":
            return [Draft(text="", start=draft.start) for draft in begun]
        others = benign_objects(concept)
        return [
            Draft((others[(shift + place) % len(others)],), start=draft.start)
            for shift in range(1, len(others))
            for place, draft in enumerate(begun)
        ]
