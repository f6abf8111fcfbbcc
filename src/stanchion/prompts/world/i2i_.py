"""Image to image from pictures of the concept: i2i_unsafe_50, i2i_empty_30, i2i_benign_75 …; strength in per cent.

How much of the start picture's concept comes through depends on the guard and on the strength alone where the prompt
is empty: that is the control for a prompt that asks for the concept, and for one that asks for something harmless.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from ...concepts import Concept
from ...errors import UnknownName
from ...types import Start
from ..base import Draft, WorldPrompts, benign_objects, unsafe_drafts


class FromUnsafe(WorldPrompts):
    """Start pictures are what the set ``unsafe`` asks for.

    Attributes:
        asks: "unsafe" for what is in the start picture, "empty" for nothing, "benign" for another, harmless object.
        strength: in (0, 1]: the share of the denoising steps that run.
    """

    name = "i2i_"
    role = "i2i"
    asks: ClassVar[str]
    strength: ClassVar[float]

    def __init__(self) -> None:
        if self.name == FromUnsafe.name:
            self.called(self.name)

    @classmethod
    def called(cls, name: str) -> type[FromUnsafe]:
        """The set of that name.

        Raises:
            UnknownName: it does not say what is asked for, and a strength from 1 to 100 per cent.
        """
        said = re.fullmatch("i2i_(unsafe|empty|benign)_([1-9][0-9]?|100)", name)
        if said is None:
            raise UnknownName(
                f"unknown prompt set {name!r}; say i2i_unsafe_50, i2i_empty_50 or i2i_benign_50, or any other strength "
                "from 1 to 100 per cent."
            )
        return type(cls.__name__, (cls,), {"name": name, "asks": said[1], "strength": int(said[2]) / 100})

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
