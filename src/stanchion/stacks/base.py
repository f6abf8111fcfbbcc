"""What a stack with a name is: its guards, and how each is set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class NamedStack:
    """Guards that ``load_stack`` loads and ``stanchion train`` trains together. Registered under its name.

    Attributes:
        name: the file's stem.
        guards: their names, in the order of their stages, with those settings that are not the usual ones.
        recipes: the same of how they are trained. Where a recipe is given ``guards``, their names mean those of the
            stack, which are trained before it.
    """

    name: ClassVar[str]
    guards: ClassVar[Mapping[str, Mapping[str, Any]]]
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
